// The camera of this machine: a dialog that shows what it sees, and a picture of that on demand.
// Phones have better: a file input opens their own camera.

const part = id => document.getElementById(id);
const REASONS = {
  NotAllowedError: "it was not allowed; allow it in the browser's settings of this page",
  NotFoundError: "there is none",
  NotReadableError: "another program uses it",
};
let stream = null;
let opening = false; // a second click would open a second stream
let taken = 0;

/** Makes the camera's button work; `add` gets the picture files, `fail` a line for people. */
export function offerCamera(add, fail) {
  if (!navigator.mediaDevices?.getUserMedia) return; // browsers give it to pages on this machine or over HTTPS alone
  const button = part("camera-open"), dialog = part("camera-dialog"), video = part("camera-video");
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (opening) return;
    opening = true;
    fail("");
    try {
      stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment", width: {ideal: 1280}}});
      video.srcObject = stream;
      dialog.showModal();
      await video.play();
    } catch (fault) {
      if (dialog.open) dialog.close();
      fail(`The camera cannot be used: ${REASONS[fault.name] ?? fault.message}.`);
    } finally {
      opening = false;
    }
  });
  part("camera-take").addEventListener("click", async () => {
    const file = await pictureOf(video);
    dialog.close();
    if (file) add([file]);
  });
  part("camera-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    stream?.getTracks().forEach(track => track.stop()); // its light goes out
    stream = video.srcObject = null;
  });
}

async function pictureOf(video) {
  if (!video.videoWidth) return null; // nothing seen yet
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const content = await new Promise(resolve => canvas.toBlob(resolve, "image/png"));
  taken += 1;
  return new File([content], `camera ${taken}`, {type: "image/png"});
}
