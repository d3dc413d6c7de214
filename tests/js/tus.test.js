import assert from "node:assert/strict";
import { test } from "node:test";

import { TusUpload, UploadError, base64 } from "../../static/js/tus.js";

/** A server as the protocol has it, on a connection that breaks where it is told to. */
class Server {
  received = new Uint8Array();
  total = -1;
  requests = [];
  metadata = "";

  /** @param {(number | string | object)[]} faults what befalls each request: bytes, "lost", an answer */
  constructor(faults = []) {
    this.faults = faults;
  }

  send = async (request, onSent, signal) => {
    this.requests.push(request.method);
    const fault = request.method === "POST" || request.method === "PATCH" ? this.faults.shift() : null;
    if (fault === "lost" || signal.aborted) throw new Error("network");
    if (typeof fault === "object" && fault !== null) return { ...answer(fault.status, {}), ...fault };
    if (request.method === "POST") {
      this.total = Number(request.headers["Upload-Length"]);
      this.metadata = request.headers["Upload-Metadata"];
      return answer(201, { Location: "/up/1" });
    }
    if (request.method === "HEAD") {
      return answer(200, { "Upload-Offset": String(this.received.length) });
    }
    if (request.method === "DELETE") return answer(204, {});
    if (Number(request.headers["Upload-Offset"]) !== this.received.length) return answer(409, {});
    const body = new Uint8Array(await request.body.arrayBuffer());
    const arrived = typeof fault === "number" ? body.slice(0, fault) : body;
    this.received = new Uint8Array([...this.received, ...arrived]);
    onSent(arrived.length);
    if (typeof fault === "number") throw new Error("network");
    return answer(204, { "Upload-Offset": String(this.received.length) });
  };
}

const answer = (status, headers) => ({
  status,
  header: (name) => headers[name] ?? null,
  message: "",
});

const file = new Blob([Uint8Array.from({ length: 1000 }, (_, n) => n % 251)]);

function uploading(server, more = {}) {
  const seen = { sent: [], offline: [], waits: [], location: "" };
  const upload = new TusUpload(file, {
    url: "/up",
    metadata: { filename: "ü.bin" },
    send: server.send,
    wait: async (seconds) => void seen.waits.push(seconds),
    onSent: (bytes) => seen.sent.push(bytes),
    onCreated: (location) => (seen.location = location),
    onOffline: (offline) => seen.offline.push(offline),
    ...more,
  });
  return { upload, seen };
}

async function whole(server) {
  assert.deepEqual(server.received, new Uint8Array(await file.arrayBuffer()));
}

test("a file goes up in one request and is whole", async () => {
  const server = new Server();
  const { upload, seen } = uploading(server);
  assert.equal(await upload.run(), true);
  await whole(server);
  assert.deepEqual(server.requests, ["POST", "PATCH"]);
  assert.equal(seen.location, "/up/1");
  assert.equal(server.metadata, `filename ${base64("ü.bin")}`);
});

test("after a cut it asks how far the server is and sends the rest", async () => {
  const server = new Server([null, 400, "lost", 100]);
  const { upload, seen } = uploading(server);
  assert.equal(await upload.run(), true);
  await whole(server);
  assert.ok(seen.offline.includes(true));
  assert.equal(seen.offline.at(-1), false);
  assert.ok(seen.waits.length >= 3);
});

test("a creation that was lost is tried again", async () => {
  const server = new Server(["lost", "lost"]);
  const { upload } = uploading(server);
  assert.equal(await upload.run(), true);
  assert.deepEqual(server.requests, ["POST", "POST", "POST", "PATCH"]);
});

test("a refusal ends it with the server's words", async () => {
  const server = new Server([{ status: 422, message: "no table", field: "table" }]);
  await assert.rejects(uploading(server).upload.run(), (error) => {
    assert.ok(error instanceof UploadError);
    assert.equal(error.message, "no table");
    assert.equal(error.field, "table");
    return true;
  });
});

test("a busy server is asked again", async () => {
  const server = new Server([null, { status: 503, message: "busy" }]);
  assert.equal(await uploading(server).upload.run(), true);
  await whole(server);
});

test("a pause stops it and a resume goes on from where the server is", async () => {
  const server = new Server([null, 300]);
  const { upload } = uploading(server, {
    wait: async () => {
      upload.pause();
      setTimeout(() => upload.resume(), 1);
    },
  });
  assert.equal(await upload.run(), true);
  await whole(server);
});

test("what is given up is deleted on the server", async () => {
  const server = new Server([null, 300]);
  const { upload } = uploading(server, { wait: () => upload.stop() });
  assert.equal(await upload.run(), false);
  assert.equal(server.requests.at(-1), "DELETE");
});
