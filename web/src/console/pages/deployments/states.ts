// How a deployment stands, in words and colours.
import { m } from "../../../i18n";
import type { Deployment } from "../../admin";

const STATES: Record<Deployment["state"], () => string> = {
  pulling: m.deployment_pulling,
  loading: m.deployment_loading,
  running: m.deployment_running,
  stopped: m.deployment_stopped,
  failed: m.deployment_failed,
};

export const stateOf = (state: Deployment["state"]): string => STATES[state]();

export const STATE_KINDS = { pulling: "wait", loading: "wait", running: "good", stopped: "quiet", failed: "bad" } as const;
