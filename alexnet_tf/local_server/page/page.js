// The page: pictures in by every way that a browser has, each with an answer of its own.

import {showAbout, viewsOf} from "./about.js";
import {offerCamera} from "./camera.js";
import {INSIDE} from "./inside.js";
import {base64Of, converted, drawnExamples, imageOf, isForModel} from "./pictures.js";
import {aboutModel, examplePicture, Outdated, predict, Refused, TooLarge} from "./server.js";

const AT_ONCE = 2; // pictures asked for side by side; the others wait
const TOP = 5;
const HOPELESS = ["too much work", "too thin", "empty file", "no picture"]; // what no conversion mends
const part = id => document.getElementById(id);
const title = document.title;
let about = null;
let pictures = []; // those on the page, the newest first
let waiting = [];
let running = 0;

/** One picture on the page, from its file to its answer. */
class Picture {
  constructor(file) {
    this.file = file;
    this.card = part("picture").content.firstElementChild.cloneNode(true);
    this.card.querySelector("h2").textContent = this.label;
    this.card.setAttribute("aria-label", this.label);
    this.find(".remove").setAttribute("aria-label", `Remove ${this.label}`);
    this.find(".remove").addEventListener("click", () => remove([this]));
    this.find(".again").addEventListener("click", () => { this.card.focus(); this.ask(); });
    this.gone = new AbortController();
    this.showFile();
    this.ask();
  }

  get label() { return this.file.name || "pasted picture"; }

  find(selector) { return this.card.querySelector(selector); }

  /** Waits for a turn, with nothing on the card that an earlier answer left. */
  ask() {
    this.abort?.abort();
    this.abort = new AbortController();
    this.settled = false;
    this.card.setAttribute("aria-busy", "true");
    this.find(".top").replaceChildren();
    for (const selector of [".doubt", ".fault", ".again", ".changed"]) this.find(selector).hidden = true;
    this.find(".told").textContent = "";
    this.find(".work").hidden = false;
    this.say("Waiting for its turn …");
    waiting = [...waiting.filter(other => other !== this), this];
    work();
  }

  say(text) { this.find(".doing").textContent = text; }

  async run() {
    const {signal} = this.abort;
    try {
      try {
        await this.answerBy(about ?? await learn(), signal);
      } catch (fault) {
        if (!(fault instanceof Outdated)) throw fault;
        await this.answerBy(await learn(), signal); // a newer version of the model has taken over
      }
    } catch (fault) {
      if (signal.aborted) return; // removed, or asked anew meanwhile
      this.showFault(fault);
    }
    this.settled = true;
    this.find(".work").hidden = true;
    this.card.removeAttribute("aria-busy");
  }

  async answerBy(model, signal) {
    const {answer, milliseconds, sent, reason} = await this.answered(model, signal);
    const view = model.signatures.includes("view") ? await predict(model, "view", sent, signal) : null;
    signal.throwIfAborted();
    if (view !== null) this.showView(view.png_bytes.b64);
    this.showAnswer(model, answer, milliseconds, reason);
    this.offerLooks(model);
  }

  /** The answer, the time it took, what was sent for it, and the reason if that is not the file as it is. */
  async answered(model, signal) {
    const ten = part("ten").checked;
    const most = 3 / 4 * (model.max_bytes - 1000); // base64 makes four letters of three bytes
    let reason = null;
    this.say("Reading the file …");
    if (!await isForModel(this.file)) {
      reason = "no JPEG, PNG or GIF file";
    } else if (this.file.size > most) {
      reason = "the file is larger than the server takes";
    } else {
      try {
        return await this.timed(model, this.file, ten, signal);
      } catch (fault) {
        const mendable = fault instanceof TooLarge ||
          fault instanceof Refused && !HOPELESS.some(start => fault.message.startsWith(start));
        if (!mendable) throw fault;
        reason = fault.message;
      }
    }
    signal.throwIfAborted();
    this.say("Converting it in this browser …");
    const file = await converted(this.file, most, model.metadata?.exif);
    if (file === null) throw new Refused(`${reason}, and this browser cannot convert it either`);
    return {...await this.timed(model, file, ten, signal), reason};
  }

  async timed(model, file, ten, signal) {
    const sent = await base64Of(file);
    signal.throwIfAborted();
    this.given = file; // for whatever is asked of it later; as base64 it would take more memory
    this.say(ten ? "Asking the network, several views …" : "Asking the network …");
    const start = performance.now();
    const answer = ten ? topOf(model, await predict(model, "ten_view", sent, signal))
      : await predict(model, "serving_default", sent, signal);
    return {answer: {...answer, ten}, milliseconds: performance.now() - start, sent, reason: null};
  }

  showFile() {
    const image = this.find("img");
    image.src = URL.createObjectURL(this.file);
    const forget = () => URL.revokeObjectURL(image.src);
    image.addEventListener("load", forget, {once: true});
    image.addEventListener("error", () => { forget(); this.find(".seen").hidden = true; }, {once: true});
  }

  showView(png) {
    this.find(".seen").hidden = false;
    this.find("img").src = `data:image/png;base64,${png}`;
    this.find("img").alt = `The center of ${this.label}, as the network sees it`;
    this.find("figcaption").textContent = "As the network sees it";
  }

  showAnswer(model, answer, milliseconds, reason) {
    const [best] = answer.scores;
    const rows = answer.classes.map((text, rank) => bar(text, answer.labels[rank], answer.scores[rank]));
    const doubt = doubtOf(model, best);
    this.find(".top").replaceChildren(...rows);
    this.find(".doubt").textContent = doubt;
    this.find(".doubt").hidden = !doubt;
    this.find(".told").textContent = `${answer.ten ? `Mean of ${viewsOf(model)} views` : "One view"}, answered in ` +
      `${milliseconds.toFixed(0)} ms, sending included, by ${model.name} version ${model.version}.`;
    this.find(".changed").textContent =
      `This browser converted the file first, for the model could not use it: ${reason}.`;
    this.find(".changed").hidden = reason === null;
    speak(`${this.label}: ${doubt ? "unsure, perhaps " : ""}${answer.classes[0]}, ${percent(best)}` +
      (reason === null ? "" : ", after this browser converted the file"));
  }

  /** What can be asked beside the answer, each when it is opened; what a version has shown stays until the next one. */
  offerLooks(model) {
    if (this.looksOf === model.version) return;
    this.looksOf = model.version;
    const offered = Object.entries(INSIDE).filter(([name]) => model.signatures.includes(name));
    this.find(".looks").replaceChildren(...offered.map(([name, look]) => {
      const box = part("look").content.firstElementChild.cloneNode(true);
      box.querySelector("summary").textContent = look.title;
      box.addEventListener("toggle", () => { if (box.open && !box.dataset.asked) this.look(model, name, look, box); });
      return box;
    }));
    this.find(".looks").hidden = !offered.length;
  }

  async look(model, name, look, box) {
    const found = box.querySelector(".found");
    box.dataset.asked = "yes";
    box.setAttribute("aria-busy", "true");
    found.textContent = "Asking the network …";
    try {
      const row = await predict(model, name, await base64Of(this.given), this.gone.signal);
      found.replaceChildren(...await look.show(row, this.find("img").src, this.label));
      speak(`${this.label}, ${look.title}: ${found.querySelector("p").textContent}`);
    } catch (fault) {
      delete box.dataset.asked; // it is asked again when it is opened again
      if (fault instanceof Outdated) {
        found.textContent = "A newer version of the model serves now: it is asked for its answer first.";
        about = null;
        this.ask();
      } else {
        found.textContent = `Not shown: ${fault.message}. Close and open this part to try again.`;
      }
    }
    box.removeAttribute("aria-busy");
  }

  showFault(fault) {
    const ofPicture = fault instanceof Refused;
    this.find(".fault").textContent = `No answer${ofPicture ? " for this picture" : ""}: ${fault.message}`;
    this.find(".fault").hidden = false;
    this.find(".again").hidden = ofPicture;
    speak(`${this.label}: ${this.find(".fault").textContent}`);
  }
}

/** The most probable classes of an answer that has all of them, in label order. */
function topOf({classes: {keys, names}}, {probabilities}) {
  const order = probabilities.map((_, label) => label).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  const top = order.slice(0, TOP);
  return {
    classes: top.map(label => names[label]),
    labels: top.map(label => keys[label]),
    scores: top.map(label => probabilities[label]),
  };
}

/** What has to be said before anybody believes the best guess; nothing where it stands out. */
function doubtOf(model, best) {
  const count = model.classes?.keys.length;
  const chance = count ? 1 / count : 0;
  if (best >= Math.max(0.5, 1.5 * chance)) return "";
  const guessing = count ? ` Blind guessing among its ${count} classes would give each ${percent(chance)}.` : "";
  return `No class is likely: even the best gets only ${percent(best)}.${guessing}`;
}

function percent(share) { return `${(100 * share).toFixed(1)} %`; }

function bar(text, label, share) {
  const item = document.createElement("li");
  item.innerHTML = '<div class="row"><span class="name"></span><span class="percent"></span></div>' +
    '<div class="track" aria-hidden="true"><div class="bar"></div></div>';
  item.title = label;
  item.querySelector(".name").textContent = text;
  item.querySelector(".percent").textContent = percent(share);
  item.querySelector(".bar").style.width = `${(100 * share).toFixed(2)}%`;
  return item;
}

function add(files) {
  notice(files.length ? "" : "That holds no picture file. Save the picture first, then choose the file.");
  const added = [...files].map(file => new Picture(file));
  pictures = [...added, ...pictures];
  part("pictures").prepend(...added.map(picture => picture.card));
  if (added.length > 1) speak(`${added.length} pictures added`);
  count();
}

function remove(gone) {
  const place = pictures.indexOf(gone[0]);
  for (const picture of gone) {
    picture.abort.abort();
    picture.gone.abort();
    picture.card.remove();
  }
  pictures = pictures.filter(picture => !gone.includes(picture));
  waiting = waiting.filter(picture => !gone.includes(picture));
  const next = pictures[Math.min(place, pictures.length - 1)];
  (next ? next.find(".remove") : part("file")).focus(); // else the keyboard's place on the page would be lost
  speak(gone.length > 1 ? "all pictures removed" : `${gone[0].label} removed`);
  count();
}

function work() {
  count();
  while (running < AT_ONCE && waiting.length) {
    const picture = waiting.shift();
    running++;
    picture.run().finally(() => { running--; work(); });
  }
}

function count() {
  const left = pictures.filter(picture => !picture.settled).length;
  part("all").hidden = !pictures.length;
  const done = `${pictures.length} picture${pictures.length === 1 ? "" : "s"}`;
  part("count").textContent = left ? `${done}, ${left} still to be answered` : done;
  document.title = left ? `(${left}) ${title}` : title;
}

function speak(text) {
  const line = document.createElement("span");
  line.textContent = `${text}. `;
  part("spoken").append(line);
  while (part("spoken").childElementCount > 20) part("spoken").firstElementChild.remove();
}

function start() {
  for (const input of [part("file"), part("camera")]) {
    input.addEventListener("change", () => {
      if (input.files.length) add([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, event => { event.preventDefault(); part("drop").classList.add("over"); });
  }
  document.addEventListener("dragleave", event => event.relatedTarget || part("drop").classList.remove("over"));
  document.addEventListener("drop", event => {
    event.preventDefault();
    part("drop").classList.remove("over");
    add([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", event => add([...event.clipboardData.files]));
  part("clear").addEventListener("click", () => remove([...pictures]));
  part("ten").addEventListener("change", () => pictures.forEach(picture => picture.ask()));
  offerCamera(add, notice);
  learn().catch(fault => notice(fault.message));
}

function notice(text) { part("notice").textContent = text; }

async function learn() {
  about = await aboutModel();
  showAbout(about);
  showExamples(about);
  return about;
}

/** Those of the model, from its validation pictures; where its export has none, the drawn ones. */
async function showExamples(model) {
  if (part("examples").dataset.version === String(model.version)) return;
  part("examples").dataset.version = model.version;
  const own = await Promise.all(model.examples.map(async (name, place) => {
    const file = await examplePicture(model, place, `example: ${name}`);
    return file && {name, shown: await imageOf(file), file: () => file};
  }));
  if (part("examples").dataset.version !== String(model.version)) return; // a newer version came meanwhile
  const examples = own.filter(Boolean);
  part("examples").querySelectorAll("button").forEach(button => button.remove());
  for (const example of examples.length ? examples : drawnExamples()) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = example.name;
    button.setAttribute("aria-label", `Example: ${example.name}`);
    button.append(example.shown);
    button.addEventListener("click", async () => add([await example.file()]));
    part("examples").append(button);
  }
}

start();
