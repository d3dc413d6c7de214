/** The wire forms that the page reads; the contract is the protocol's section 1 and 2. */

export type Status = "queued" | "in_progress" | "completed" | "failed" | "cancelled" | "lost";

export interface Step {
  name: string;
  status: Status;
  progress: number | null;
  weight: number;
  elapsed_s: number | null;
}

export interface WireError {
  code: string;
  message: string;
  field?: string;
  retry_after_s?: number;
}

export interface ResultFile {
  name: string;
  size_bytes: number;
  url: string;
}

/** A task as far as it is known: an update may come before the snapshot. */
export interface Task {
  task_id: string;
  epoch: string;
  seq: number;
  status: Status;
  progress: number | null;
  name?: string;
  title?: string;
  current?: number;
  total?: number | null;
  unit?: string;
  message?: string;
  steps?: Step[];
  rate?: number | null;
  eta_s?: number | null;
  eta_low_s?: number | null;
  eta_high_s?: number | null;
  usual_s?: number | null;
  elapsed_s?: number | null;
  created_at?: number | null;
  started_at?: number | null;
  updated_at?: number | null;
  finished_at?: number | null;
  cancellable?: boolean;
  cancel_requested?: boolean;
  retryable?: boolean;
  result?: unknown;
  files?: ResultFile[];
  error?: WireError | null;
  source?: string;
  host?: string | null;
  parent_id?: string | null;
  tags?: string[];
}

export type Counts = Record<string, number>;

export interface Filters {
  status?: string | null;
  search?: string | null;
}

/** What the server tells every page in its `page` block. */
export interface Page {
  namespace: string;
  socket_path: string;
  epoch: string;
  server_url: string;
  prefix: string;
  can_start: boolean;
  needs_token: boolean;
  refresh_s: number;
  now: number;
}

export type Ack = { ok: boolean; error?: WireError } & Record<string, any>;
