// The camera in a dialogue: a live picture with an oval for the face, and a word on the light.

import { lightHint } from "/static/view.js";

const SAMPLE = 32; // pixels of a side: the mean is all that is asked for
const EVERY_MS = 400;

/** Whether the page may ask for a camera: browsers let it on https and on localhost. */
export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Let a photo be taken in the dialogue. `onPicture` gets it as a file, not mirrored. */
export function mountCamera({ dialog, video, shoot, close, told }, onPicture) {
  let stream = null;
  let timer = null;
  const sample = document.createElement("canvas");
  sample.width = sample.height = SAMPLE;
  const brush = sample.getContext("2d", { willReadFrequently: true });

  const say = (text) => {
    if (told.textContent !== text) told.textContent = text; // else a screen reader would repeat it
  };

  function look() {
    const { videoWidth: width, videoHeight: height } = video;
    if (!width) return;
    const side = Math.min(width, height) / 2; // what the oval is about
    brush.drawImage(video, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SAMPLE, SAMPLE);
    say(lightHint(brush.getImageData(0, 0, SAMPLE, SAMPLE).data));
  }

  function stop() {
    clearInterval(timer);
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = video.srcObject = null;
    shoot.disabled = true;
  }

  dialog.addEventListener("close", stop); // by the button, by Escape, or after a photo
  close.addEventListener("click", () => dialog.close());
  shoot.addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob(
      (blob) => {
        dialog.close();
        onPicture(new File([blob], "photo.jpg", { type: blob.type }));
      },
      "image/jpeg",
      0.95,
    );
  });

  return async function open() {
    say("The browser asks whether the page may use the camera.");
    shoot.disabled = true;
    dialog.showModal();
    try {
      const wanted = { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 960 } };
      const opened = await navigator.mediaDevices.getUserMedia({ video: wanted });
      if (!dialog.open) {
        for (const track of opened.getTracks()) track.stop(); // closed while the browser asked
        return;
      }
      stream = opened;
      video.srcObject = opened;
      await video.play();
      shoot.disabled = false;
      shoot.focus();
      look();
      timer = setInterval(look, EVERY_MS);
    } catch (error) {
      stop();
      say(
        error.name === "NotAllowedError"
          ? "The page may not use the camera. Allow it in the browser, or choose a picture."
          : "There is no camera that can be used. Choose a picture instead.",
      );
    }
  };
}
