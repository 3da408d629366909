// What went wrong, in the reader's language, with a way on.
import { ApiError } from "../api/client";
import { dateTime, m } from "../i18n";

const DOCUMENT_PROBLEMS: Record<string, (places: { name: string }) => string> = {
  document_broken: m.problem_document_broken,
  document_encrypted: m.problem_document_encrypted,
  document_empty: m.problem_document_empty,
  document_too_large: m.problem_document_too_large,
  document_unknown_kind: m.problem_document_unknown_kind,
  document_too_complex: m.problem_document_too_complex,
};

const PROBLEMS: Record<string, () => string> = {
  document_no_room: m.problem_document_no_room,
  too_many_documents: m.problem_too_many_documents,
  not_found: m.problem_not_found,
  conversation_busy: m.problem_conversation_busy,
  nothing_to_continue: m.problem_nothing_to_continue,
  model_not_ready: m.problem_model_not_ready,
  invalid_model: m.problem_invalid_model,
  draining: m.problem_draining,
  wrong_credentials: m.problem_wrong_password,
  no_money: m.problem_no_money,
  no_price: m.problem_no_price,
  cap_reached: m.problem_cap_reached,
  no_route_allowed: m.problem_no_route,
  no_route_available: m.problem_no_route,
  ledger_unavailable: m.problem_ledger,
  internal_server_error: m.problem_internal_server_error,
};

const DEFAULT_WAIT_SECONDS = 5;
const LONG_WAIT_SECONDS = 600; // no queue, but a limit of the month

/** `type` as the API's errors have it; `name`: of the file that it is about. */
export function problemOfType(type: string, message = "", name = "", retryAfter?: number | null): string {
  const ofDocument = DOCUMENT_PROBLEMS[type];
  if (ofDocument) return ofDocument({ name });
  if (type === "rate_limited" && retryAfter && retryAfter > LONG_WAIT_SECONDS) return m.problem_limit_until({ until: dateTime(new Date(Date.now() + 1000 * retryAfter)) });
  if (type === "rate_limited") return m.problem_rate_limited({ seconds: String(retryAfter ?? DEFAULT_WAIT_SECONDS) });
  const known = PROBLEMS[type];
  if (known) return known();
  if (type === "invalid_request_error") return message ? m.problem_invalid_request_error({ message }) : m.problem_unanswerable();
  return m.problem_unknown({ message: message || type });
}

export function problemText(error: unknown, name = ""): string {
  if (error instanceof ApiError) {
    if (error.status === 401) return m.problem_unauthorized();
    if (error.status === 0) return m.problem_network();
    return problemOfType(error.type, error.message, name, error.retryAfter);
  }
  if (error instanceof TypeError) return m.problem_network(); // what fetch throws without a connection
  return m.problem_unknown({ message: String(error) });
}
