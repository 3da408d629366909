"""Measures public engines on the shape that `tramontane bench engine` measures, on the same machine and the same day.

The models have random weights: only sizes and arithmetic matter here. This file does not import tramontane; its peers
live in an environment of their own:

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install llama-cpp-python gguf      # compiles llama.cpp: 5 to 10 minutes
    /tmp/peers/bin/pip install torch==2.13.0 'optimum-intel[openvino]' openvino-genai      # for the OpenVINO rows alone
    /tmp/peers/bin/python benchmarks/peers.py --layers 8

If transformers cannot be imported for want of `torchvision::nms`, `pip uninstall torchvision`: no images here.
If a row says "died of signal 11" on a processor with AMX, llama.cpp's AMX buffers are the first thing to doubt:
`--no-repack` does without them, and without the other rearrangements of weights, which are worth having elsewhere.

What is measured, greedy, with `--threads` threads:

- *prompt*: one request of 512 tokens, until its first new token; median of three, after one that warms up.
- *decode at B*: B simultaneous requests with prompts of 128 tokens; the clock starts when each has its first token and
  stops when each has 64 more; B × 64 tokens over that time.

Each row runs in a process of its own, so that one peer's crash or memory does not touch the next.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Shape:
    """A dense transformer of the family; sizes in elements."""

    dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_dim: int
    vocab_size: int
    rope_theta: float = 1e6
    norm_eps: float = 1e-5


SHAPES = {
    "mistral-7b": Shape(4096, 32, 8, 128, 14336, 32768),
    "tiny": Shape(512, 4, 2, 128, 1024, 2048),  # a minute for all peers: does the plumbing work?
}


@dataclass(frozen=True)
class Work:
    """What each peer is asked to do; lengths in tokens."""

    threads: int
    batches: tuple[int, ...]
    long_prompt: int = 512
    short_prompt: int = 128
    new_tokens: int = 64
    repeats: int = 3


class Runner(Protocol):
    """A loaded peer. Prompts are `[B, N]` token numbers, distinct by row."""

    def prompt_seconds(self, prompt: np.ndarray) -> float:
        """Seconds from submitting one prompt to its first new token."""

    def decode_seconds(self, prompts: np.ndarray, new_tokens: int) -> float:
        """Seconds in which each of the requests, past its first token, gets `new_tokens` more."""


# ── llama.cpp ────────────────────────────────────────────────────────────────────────────────────────────────────


def write_gguf(path: Path, shape: Shape, layers: int, kind: str) -> None:
    """A llama.cpp model file without vocabulary. Layers repeat the same random values, each in bytes of its own."""
    import gguf

    qtype = gguf.GGMLQuantizationType[kind.upper()]
    random = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> np.ndarray:
        values = random.standard_normal((rows, columns), dtype=np.float32)
        values *= columns**-0.5
        return gguf.quants.quantize(values, qtype)

    writer = gguf.GGUFWriter(path, "llama")
    write_gguf_facts(writer, shape, layers)
    query, key = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    norm = np.ones(shape.dim, dtype=np.float32)
    layer = {
        "attn_q": matrix(query, shape.dim),
        "attn_k": matrix(key, shape.dim),
        "attn_v": matrix(key, shape.dim),
        "attn_output": matrix(shape.dim, query),
        "ffn_gate": matrix(shape.ffn_dim, shape.dim),
        "ffn_up": matrix(shape.ffn_dim, shape.dim),
        "ffn_down": matrix(shape.dim, shape.ffn_dim),
    }
    for index in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{index}.{name}.weight", norm)
        for name, values in layer.items():
            writer.add_tensor(f"blk.{index}.{name}.weight", values, raw_dtype=qtype)
    for name in ("token_embd", "output"):
        writer.add_tensor(f"{name}.weight", matrix(shape.vocab_size, shape.dim), raw_dtype=qtype)
    writer.add_tensor("output_norm.weight", norm)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf_facts(writer: Any, shape: Shape, layers: int) -> None:
    """The header: sizes, and that there is no vocabulary."""
    writer.add_block_count(layers)
    writer.add_context_length(32_768)
    writer.add_embedding_length(shape.dim)
    writer.add_feed_forward_length(shape.ffn_dim)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.vocab_size)
    writer.add_tokenizer_model("no_vocab")


class LlamaCpp:
    """llama.cpp by its C interface: a batch names the sequence of each token, as a server's slots do."""

    def __init__(self, path: Path, shape: Shape, work: Work, repack: bool) -> None:
        import llama_cpp

        self.lib, self.shape, self.work = llama_cpp, shape, work
        # Kept for as long as the library may call it; only what goes wrong is worth reading.
        self.on_log = llama_cpp.llama_log_callback(self.log)
        llama_cpp.llama_log_set(self.on_log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        params.use_extra_bufts = repack  # weights rearranged for the instructions that this machine has
        self.model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.greedy = llama_cpp.llama_sampler_init_greedy()

    @staticmethod
    def log(level: int, text: bytes, _user_data: object) -> None:
        """Pass errors (level 4) on."""
        if level == 4:
            sys.stderr.write(text.decode(errors="replace"))

    def new_context(self, batch: int, length: int) -> Any:
        """A context of `batch` sequences of up to `length` tokens; other settings are llama.cpp's defaults."""
        params = self.lib.llama_context_default_params()
        params.n_ctx = batch * (-(-length // 256) * 256)  # a sequence's share is a multiple of 256
        params.n_batch = batch * length
        params.n_seq_max = batch
        params.n_threads = params.n_threads_batch = self.work.threads
        context = self.lib.llama_init_from_model(self.model, params)
        if not context:
            raise RuntimeError(f"llama.cpp cannot make a context of {batch} × {length} tokens")
        return context

    def step(self, context: Any, tokens: np.ndarray, start: int) -> np.ndarray:
        """Run `tokens` `[B, N]` at positions `start…`; the next token of each sequence, `[B, 1]`."""
        rows, columns = tokens.shape
        batch = self.lib.llama_batch_init(rows * columns, 0, 1)
        batch.n_tokens = rows * columns
        for i in range(rows * columns):
            row, column = divmod(i, columns)
            batch.token[i] = int(tokens[row, column])
            batch.pos[i] = start + column
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = row
            batch.logits[i] = column == columns - 1
        status = self.lib.llama_decode(context, batch)
        self.lib.llama_batch_free(batch)
        if status != 0:
            raise RuntimeError(f"llama_decode answered {status}")
        return np.array([[self.argmax(context, row * columns + columns - 1)] for row in range(rows)])

    def argmax(self, context: Any, index: int) -> int:
        """The likeliest token after the batch's token `index`. (The library's own sampler would need a vocabulary.)"""
        logits = self.lib.llama_get_logits_ith(context, index)
        return int(np.ctypeslib.as_array(logits, shape=(self.shape.vocab_size,)).argmax())

    def prompt_seconds(self, prompt: np.ndarray) -> float:
        """See `Runner`."""
        context = self.new_context(1, prompt.shape[1] + 1)
        began = time.perf_counter()
        self.step(context, prompt, 0)
        seconds = time.perf_counter() - began
        self.lib.llama_free(context)
        return seconds

    def decode_seconds(self, prompts: np.ndarray, new_tokens: int) -> float:
        """See `Runner`."""
        length = prompts.shape[1]
        context = self.new_context(len(prompts), length + new_tokens + 1)
        tokens = self.step(context, prompts, 0)
        began = time.perf_counter()
        for position in range(length, length + new_tokens):
            tokens = self.step(context, tokens, position)
        seconds = time.perf_counter() - began
        self.lib.llama_free(context)
        return seconds


# ── OpenVINO ─────────────────────────────────────────────────────────────────────────────────────────────────────


def write_openvino(path: Path, shape: Shape, layers: int, kind: str) -> None:
    """Exports a transformers model with weights compressed by nncf; under int4, embeddings and output stay int8."""
    import torch
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        hidden_size=shape.dim,
        num_hidden_layers=layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.ffn_dim,
        vocab_size=shape.vocab_size,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        max_position_embeddings=32_768,
        sliding_window=None,
    )
    quantization = {
        "int8": OVWeightQuantizationConfig(bits=8),
        "int4": OVWeightQuantizationConfig(bits=4, sym=True, group_size=128, ratio=1.0),
    }[kind]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with tempfile.TemporaryDirectory(dir=path.parent) as source:
        MistralForCausalLM(config).save_pretrained(source)
        torch.set_default_dtype(torch.float32)
        model = OVModelForCausalLM.from_pretrained(source, export=True, compile=False, quantization_config=quantization)
        model.save_pretrained(path)


class OpenVino:
    """OpenVINO GenAI's continuous batching, stepped by hand; the settings of kernels and KV cache are its defaults."""

    def __init__(self, path: Path, shape: Shape, work: Work, repack: bool) -> None:
        import openvino_genai

        self.genai, self.count = openvino_genai, 0
        largest = max(work.long_prompt, max(work.batches) * work.short_prompt)
        tokens = max(work.long_prompt, max(work.batches) * (work.short_prompt + work.new_tokens + 32))
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = -(-tokens // 16)  # more than enough if a block has more than 16 tokens
        scheduler.max_num_batched_tokens = largest  # all prompts of a batch in one step
        scheduler.dynamic_split_fuse = False
        scheduler.enable_prefix_caching = False
        properties = {"INFERENCE_NUM_THREADS": work.threads}
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(str(path), scheduler, "CPU", properties)

    def submit(self, prompts: np.ndarray, new_tokens: int) -> list[Any]:
        """Queue the prompts; nothing runs yet."""
        import openvino

        config = self.genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = new_tokens, True, False
        handles = []
        for row in prompts:
            self.count += 1
            tokens = openvino.Tensor(row[None].astype(np.int64))
            handles.append(self.pipeline.add_request(self.count, tokens, config))
        return handles

    def finish(self, handles: list[Any], steps: int) -> None:
        """Run to the end, which must take exactly `steps` steps: else the clock measured something else."""
        taken = 0
        while self.pipeline.has_non_finished_requests():
            self.pipeline.step()
            taken += 1
        if taken != steps:
            raise RuntimeError(f"{len(handles)} requests took {taken} steps instead of {steps}")

    def prompt_seconds(self, prompt: np.ndarray) -> float:
        """See `Runner`."""
        handles = self.submit(prompt, 1)
        began = time.perf_counter()
        self.finish(handles, 1)
        return time.perf_counter() - began

    def decode_seconds(self, prompts: np.ndarray, new_tokens: int) -> float:
        """See `Runner`."""
        handles = self.submit(prompts, new_tokens + 1)
        self.pipeline.step()
        began = time.perf_counter()
        self.finish(handles, new_tokens)
        return time.perf_counter() - began


# ── one row: a peer with one kind of weights ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Peer:
    """How to write a model for a peer and how to load it."""

    packages: tuple[str, ...]
    suffix: str
    write: Callable[[Path, Shape, int, str], None]
    runner: Callable[[Path, Shape, Work, bool], Runner]


LLAMA_CPP = Peer(("llama-cpp-python", "gguf"), ".gguf", write_gguf, LlamaCpp)
OPENVINO = Peer(("openvino", "openvino-genai", "optimum-intel", "nncf"), "", write_openvino, OpenVino)
ROWS = {
    "llama.cpp/q4_0": LLAMA_CPP,
    "llama.cpp/q8_0": LLAMA_CPP,
    "llama.cpp/bf16": LLAMA_CPP,
    "openvino/int4": OPENVINO,
    "openvino/int8": OPENVINO,
}


def model_path(args: argparse.Namespace, row: str) -> Path:
    """Where the row's model is, or will be."""
    return Path(args.models) / f"{row.replace('/', '-')}-{args.shape}-{args.layers}{ROWS[row].suffix}"


def prepare(args: argparse.Namespace, row: str) -> Path:
    """The row's model, written if it is not there yet; a half-written one never takes its name."""
    peer, kind = ROWS[row], row.split("/")[1]
    path = model_path(args, row)
    if not path.exists():
        args.models.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{path.name}")
        peer.write(partial, SHAPES[args.shape], args.layers, kind)
        partial.rename(path)
    return path


def measure(runner: Runner, shape: Shape, work: Work) -> Iterator[tuple[str, float]]:
    """Yields ("prompt", tokens a second), then (batch, tokens a second) for each batch."""
    random = np.random.default_rng(1)

    def prompts(batch: int, length: int) -> np.ndarray:
        return random.integers(3, shape.vocab_size, size=(batch, length))

    runner.prompt_seconds(prompts(1, work.long_prompt))  # warms up: pages read, kernels chosen
    seconds = [runner.prompt_seconds(prompts(1, work.long_prompt)) for _ in range(work.repeats)]
    yield "prompt", work.long_prompt / statistics.median(seconds)
    for batch in work.batches:
        elapsed = runner.decode_seconds(prompts(batch, work.short_prompt), work.new_tokens)
        yield str(batch), batch * work.new_tokens / elapsed


def run_row(args: argparse.Namespace, work: Work) -> None:
    """The child: prepares, or measures and prints a JSON line for each result as it comes."""
    path = prepare(args, args.row)
    if args.prepare:
        return
    shape = SHAPES[args.shape]
    runner = ROWS[args.row].runner(path, shape, work, not args.no_repack)
    for name, speed in measure(runner, shape, work):
        print(json.dumps({"name": name, "tokens_per_second": round(speed, 2)}), flush=True)


# ── all rows ─────────────────────────────────────────────────────────────────────────────────────────────────────


def start_child(args: argparse.Namespace, row: str, prepare_only: bool) -> subprocess.Popen[str]:
    """This file again, for one row. What the libraries say goes to stderr, and to the screen only with --verbose."""
    command = [sys.executable, __file__, "--row", row, "--models", str(args.models), "--shape", args.shape]
    command += ["--layers", str(args.layers), "--threads", str(args.threads), "--batches", args.batches]
    command += ["--prepare"] * prepare_only + ["--no-repack"] * args.no_repack
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    errors = None if args.verbose else subprocess.DEVNULL
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)


def collect(child: subprocess.Popen[str], show: Callable[[float], None]) -> tuple[dict[str, float], str | None]:
    """The child's results by name, and what became of it if it did not end well."""
    speeds: dict[str, float] = {}
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith('{"name"'):  # libraries print lines of their own
            result = json.loads(line)
            speeds[result["name"]] = result["tokens_per_second"]
            show(result["tokens_per_second"])
    status = child.wait()
    if status == 0:
        return speeds, None
    return speeds, f"died of signal {-status}" if status < 0 else f"failed with status {status}; --verbose says why"


def run_all(args: argparse.Namespace, work: Work) -> dict[str, Any]:
    """Prepares all models first, so that nothing is written while something is timed; prints the table as it grows."""
    failures = {}
    for row in args.rows:
        print(f"preparing {row}", file=sys.stderr, flush=True)
        _, failure = collect(start_child(args, row, prepare_only=True), lambda _: None)
        if failure or not model_path(args, row).exists():
            failures[row] = f"could not be prepared: {failure or 'no model was written'}"
    if args.prepare:
        return {"failures": failures}
    results = {}
    print(f"{'tokens/s':16}{f'prompt {work.long_prompt}':>12}" + "".join(f"{f'B={b}':>9}" for b in work.batches))
    for row in args.rows:
        print(f"{row:16}", end="", flush=True)
        if row not in failures:
            widths = iter([12] + [9] * len(work.batches))
            child = start_child(args, row, prepare_only=False)
            results[row], failure = collect(
                child, lambda speed, w=widths: print(f"{speed:{next(w)}.1f}", end="", flush=True)
            )
            if failure:
                failures[row] = failure
        print(f"  {failures[row]}" if row in failures else "", flush=True)
    return {"results": results, "failures": failures}


def versions(rows: list[str]) -> dict[str, str]:
    """Versions of the packages that these rows use, where installed."""
    found = {}
    for package in sorted({package for row in rows for package in ROWS[row].packages}):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def processor() -> str:
    """The name that Linux gives the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.machine()


def parse_arguments() -> argparse.Namespace:
    """The command line; `--row` is for this file's own children."""
    parser = argparse.ArgumentParser(description="Measure public engines on the shape that Tramontane is measured on.")
    parser.add_argument("--shape", choices=SHAPES, default="mistral-7b")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", default="1,4,8,16,32", help="simultaneous requests, separated by commas")
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(ROWS), help=",".join(ROWS))
    parser.add_argument(
        "--models", type=Path, default=Path(tempfile.gettempdir()) / "peers-models", help="reused; yours to delete"
    )
    parser.add_argument("--prepare", action="store_true", help="write the models, measure nothing")
    parser.add_argument("--no-repack", action="store_true", help="llama.cpp: leave the weights as they are in the file")
    parser.add_argument("--verbose", action="store_true", help="show what the peers print")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = sorted(set(args.rows) - set(ROWS))
    if unknown:
        parser.error(f"--rows: {', '.join(unknown)} not among {', '.join(ROWS)}")
    return args


def main() -> None:
    """Measure and print a table for people and one JSON line for programs."""
    args = parse_arguments()
    work = Work(args.threads, tuple(int(batch) for batch in args.batches.split(",")))
    if args.row:
        run_row(args, work)
        return
    answer = run_all(args, work)
    facts = {"shape": args.shape, "layers": args.layers, "machine": processor(), "work": asdict(work)}
    print(json.dumps({"benchmark": "peers", **facts, "versions": versions(args.rows), **answer}, ensure_ascii=False))
    sys.exit(bool(answer["failures"]))


if __name__ == "__main__":
    main()
