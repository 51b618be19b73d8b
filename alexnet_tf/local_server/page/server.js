// Asks the model server that this page came from, by its REST interface.

const PAUSES = [500, 1000, 2000, 4000]; // milliseconds before another try where the server is busy

/** The server answers, but not for this picture; the message is the picture's status. */
export class Refused extends Error {}

/** The server takes no request of this size. */
export class TooLarge extends Error {}

/** The server no longer serves the version that was asked for. */
export class Outdated extends Error {}

/** What the server knows of its model: name, version, signatures, classes, metadata, the largest body it takes. */
export async function aboutModel() {
  const response = await answered(fetch("/page/model", {cache: "no-store"}));
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
  return response.json();
}

/** The example of this place among a model's own, as a file of this name; null where it is no longer to be had. */
export async function examplePicture(model, place, name) {
  try {
    const response = await fetch(`/page/examples/${model.version}/${place}`);
    if (!response.ok) return null;
    const content = await response.blob();
    return new File([content], name, {type: content.type});
  } catch {
    return null; // whoever asks for an answer next is told that the server is gone
  }
}

/** One picture's row of a signature's answer, by the version that `model` tells of; `picture` is a file in base64. */
export async function predict(model, signature, picture, abort) {
  const address = `/v1/models/${encodeURIComponent(model.name)}/versions/${model.version}:predict`;
  const call = {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({signature_name: signature, instances: [{image_bytes: {b64: picture}}]}),
    signal: abort,
  };
  for (const pause of [...PAUSES, null]) {
    const response = await answered(fetch(address, call));
    if (response.status === 503 && pause !== null) {
      await sleep(pause, abort);
      continue;
    }
    const content = await response.json().catch(() => ({error: `the server answers ${response.status}`}));
    if (response.status === 413 || response.status === 429) throw new TooLarge(content.error);
    if (response.status === 404) throw new Outdated(content.error);
    if (!response.ok) throw new Error(content.error);
    const [row] = content.predictions;
    if (row.status !== "ok") throw new Refused(row.status);
    return row;
  }
}

async function answered(response) {
  try {
    return await response;
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Error("the server does not answer; is it still running?"); // the browser's own words differ and say less
  }
}

function sleep(milliseconds, abort) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    abort?.addEventListener("abort", () => { clearTimeout(timer); reject(abort.reason); }, {once: true});
  });
}
