// The model's card: what the export's metadata say of it.

import {elementsOfCard} from "./card.js";
import {whyNothingInside} from "./inside.js";

const part = id => document.getElementById(id);

/** Fills the card and shows what the model allows. */
export function showAbout(about) {
  part("classes-count").textContent = about.classes?.keys.length ?? "";
  part("facts").replaceChildren(...factsOf(about).flatMap(([term, text]) => {
    const [name, value] = [document.createElement("dt"), document.createElement("dd")];
    [name.textContent, value.textContent] = [term, text];
    return [name, value];
  }));
  part("classes").hidden = !about.classes;
  part("classes-list").replaceChildren(...(about.classes?.names ?? []).map(text => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  part("card").hidden = !about.card;
  part("card-text").replaceChildren(...elementsOfCard(about.card ?? ""));
  const views = viewsOf(about);
  part("views").hidden = views < 2;
  part("views-count").textContent = views === 10 ? "Ten" : views;
  part("about").hidden = false;
}

/** How many views of a picture the model averages on demand: fewer than ten where the crop leaves no room for them. */
export function viewsOf({signatures, classes, metadata}) {
  if (!signatures.includes("ten_view") || !classes) return 1;
  const told = (Array.isArray(metadata?.nets) ? metadata.nets : []).map(net => net?.ten_view).filter(Number.isInteger);
  return told.length ? Math.max(...told) : 10;
}

function factsOf(about) {
  const {name, version, classes, metadata} = about;
  const facts = [["Model", `${name}, version ${version}`]];
  if (classes) facts.push(["Classes", String(classes.keys.length)]);
  const nets = Array.isArray(metadata?.nets) ? metadata.nets : [];
  nets.forEach((net, place) => {
    const which = nets.length > 1 ? ` ${place + 1}` : "";
    const epochs = typeof net.epoch === "number" ? ` (${Number(net.epoch.toPrecision(4))} epochs)` : "";
    facts.push([`Network${which}`, `preset ${net.preset}, seed ${net.seed}, ${net.checkpoint_step} steps${epochs}`]);
    const {top1_error: top1, top5_error: top5} = net.validation ?? {};
    facts.push([`Validation error${which}`, top1 === undefined ? "not measured at this step"
      : `${share(top1)} (top-1), ${share(top5)} (top-5), center view`]);
  });
  if (nets.length > 1) facts.push(["Answer", `mean of ${nets.length} networks`]);
  if (metadata?.exported) facts.push(["Exported", metadata.exported.replace("T", " ").replace("+00:00", " UTC")]);
  if (metadata?.tensorflow) facts.push(["TensorFlow", metadata.tensorflow]);
  if (metadata?.commit) facts.push(["Commit of the program", metadata.commit]);
  if (metadata?.license) facts.push(["License of the weights", metadata.license]);
  if (whyNothingInside(about)) facts.push(["Feature maps and Grad-CAM", whyNothingInside(about)]);
  if (metadata?.exif) {
    facts.push(["EXIF orientation", metadata.exif === "apply" ? "pictures are turned by it" : "not applied"]);
  }
  if (metadata?.limits) {
    const {max_pixels: pixels, max_aspect: aspect} = metadata.limits;
    facts.push(["Pictures", `up to ${Math.round(pixels / 1e6)} megapixels, at most ${aspect} times as long as wide`]);
  }
  return facts;
}

function share(error) { return `${(100 * error).toFixed(1)} %`; }
