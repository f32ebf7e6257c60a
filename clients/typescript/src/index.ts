// Calls of the Social CRM over gRPC-Web: generated clients with a token, deadlines, request ids, and refusals by their reason.
//
//   const crm = connect({ baseUrl: "http://127.0.0.1:8080", token });
//   const profiles = createClient(ProfileService, crm.transport);
//   const found = await profiles.searchCustomers({ query: "jane@example.com" });

import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";

export { Code, ConnectError, createClient } from "@connectrpc/connect";

/** The header of a list or search that has to show a write, and of the answer to that write. */
export const POSITION = "scrm-position";

const RETRIES = 3;
const FIRST_PAUSE_MS = 100;
const STREAM_MS = 300_000;
const STREAM_TRIES = 5;
const BREAKS = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Unknown]);

export interface Options {
  /** Of the gateway, such as "http://127.0.0.1:8080". */
  baseUrl: string;
  /** A bearer token, or what gives one for each call. */
  token: string | (() => string | Promise<string>);
  /** For a call without a deadline of its own; 5,000 if absent. A stream has five minutes. */
  timeoutMs?: number;
}

export interface Connection {
  transport: Transport;
  /** The position of the last write to a service (such as "identity"); undefined before the first. */
  position(service: string): string | undefined;
}

/** A connection to the gateway. A call that finds nobody is sent again, up to four times in all: what changes something has a request id. */
export function connect(options: Options): Connection {
  const positions = new Map<string, string>();
  const { token } = options;
  const withToken: Interceptor = (next) => async (request) => {
    request.header.set("authorization", `Bearer ${typeof token === "string" ? token : await token()}`);
    return next(request);
  };
  const numbered: Interceptor = (next) => async (request) => {
    if (!request.stream && "requestId" in request.message && request.message.requestId === "") {
      request.message.requestId = crypto.randomUUID();
    }
    return next(request);
  };
  const remembering: Interceptor = (next) => async (request) => {
    const response = await next(request);
    const position = response.trailer.get(POSITION) ?? response.header.get(POSITION);
    if (position !== null) positions.set(serviceOf(request.service.typeName), position);
    return response;
  };
  const web = createGrpcWebTransport({
    baseUrl: options.baseUrl,
    defaultTimeoutMs: options.timeoutMs ?? 5_000,
    interceptors: [numbered, remembering, persevering, withToken],
  });
  const transport: Transport = {
    unary: (...call) => web.unary(...call),
    stream: (method, signal, timeoutMs, ...call) => web.stream(method, signal, timeoutMs ?? STREAM_MS, ...call),
  };
  return { transport, position: (service) => positions.get(service) };
}

/**
 * All answers of a stream; where it breaks, it is gone on with, by the token in its last answer. Servers end streams when they stop, and
 * after five minutes. Throws what trying again does not help, or has not helped five times in a row.
 *
 *   for await (const { members } of whole((pageToken) => tagging.exportSegment({ segmentId, pageToken }))) …
 */
export async function* whole<Answer extends { nextPageToken: string }>(
  call: (pageToken: string) => AsyncIterable<Answer>,
): AsyncGenerator<Answer> {
  let pageToken = "";
  for (let failures = 0; ; ) {
    try {
      for await (const answer of call(pageToken)) {
        yield answer;
        failures = 0;
        pageToken = answer.nextPageToken;
        if (pageToken === "") return;
      }
    } catch (error) {
      const { code, retryAfterMs } = refusalOf(error);
      if (!BREAKS.has(code) || ++failures === STREAM_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryAfterMs ?? FIRST_PAUSE_MS * 2 ** failures));
    }
  }
}

/** Why a call was refused: stable and meant for programs. Reasons are the names of the `ErrorReason` of the service without their prefix. */
export interface Refusal {
  code: Code;
  reason: string;
  metadata: Record<string, string>;
  fields: { field: string; description: string }[];
  /** When trying again may help. */
  retryAfterMs?: number;
}

/** What a caught error says. */
export function refusalOf(error: unknown): Refusal {
  const found = ConnectError.from(error);
  const info = detail(found, ErrorInfoSchema);
  const retry = detail(found, RetryInfoSchema)?.retryDelay;
  return {
    code: found.code,
    reason: info?.reason ?? "",
    metadata: info?.metadata ?? {},
    fields: (detail(found, BadRequestSchema)?.fieldViolations ?? []).map(({ field, description }) => ({ field, description })),
    ...(retry ? { retryAfterMs: Number(retry.seconds) * 1000 + retry.nanos / 1e6 } : {}),
  };
}

function detail<Kind extends DescMessage>(error: ConnectError, kind: Kind): MessageShape<Kind> | undefined {
  return error.findDetails(kind)[0];
}

const persevering: Interceptor = (next) => async (request) => {
  for (let tries = 0; ; tries++) {
    try {
      return await next(request);
    } catch (error) {
      if (request.stream || tries === RETRIES || ConnectError.from(error).code !== Code.Unavailable) throw error;
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 3 ** tries));
    }
  }
};

/** `scrm.identity.v1.ProfileService` → `identity`. */
function serviceOf(typeName: string): string {
  return typeName.split(".")[1] ?? "";
}
