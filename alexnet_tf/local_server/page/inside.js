// What goes on inside the network for one picture: where it looks (Grad-CAM), and its feature maps.

const COLORS = [ // of heat, from none to the most: Google's Turbo at nine places
  [48, 18, 59], [70, 107, 227], [40, 187, 236], [49, 242, 153], [162, 252, 60], [237, 208, 58], [251, 128, 34],
  [210, 49, 5], [122, 4, 3],
];
const LEAST_SIDE = 224; // pixels of a picture under heat; smaller ones are drawn larger
const ROWS = ["top", "middle", "bottom"], COLUMNS = ["left", "middle", "right"];

/** What a model may be asked beside its answer, by the signature's name. */
export const INSIDE = {
  grad_cam: {title: "Where it looks (Grad-CAM)", show: showHeat},
  feature_maps: {title: "Feature maps", show: showMaps},
};

/** Why a model cannot show its inside; nothing where it can. */
export function whyNothingInside({signatures, metadata}) {
  if (Object.keys(INSIDE).every(name => signatures.includes(name))) return "";
  return metadata?.nets?.length > 1 ? "not shown: several networks answer as one"
    : "not shown: an earlier version of the program exported it; export the run again";
}

/** Draws the heat of a picture over what the network sees of it, at this address; returns elements for the page. */
async function showHeat({heat, class: name, score}, address, label) {
  const most = Math.max(...heat.flat());
  if (!(most > 0)) return [paragraph(`Nothing in the last feature maps speaks for ${name}.`)];
  const seen = new Image();
  seen.src = address;
  await seen.decode();
  const canvas = document.createElement("canvas");
  const larger = Math.ceil(LEAST_SIDE / seen.naturalWidth);
  const [width, height] = [canvas.width, canvas.height] = [larger * seen.naturalWidth, larger * seen.naturalHeight];
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(seen, 0, 0, width, height);
  const picture = context.getImageData(0, 0, width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const share = between(heat, (y + 0.5) / height, (x + 0.5) / width) / most;
      const cover = 0.75 * Math.min(1, 1.5 * share);
      const at = 4 * (y * width + x);
      const pale = 110 + 0.55 * (picture.data[at] + picture.data[at + 1] + picture.data[at + 2]) / 3;
      colorOf(share).forEach((color, channel) => {
        picture.data[at + channel] = cover * color + (1 - cover) * Math.min(255, pale);
      });
    }
  }
  context.putImageData(picture, 0, 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Heat over the center of ${label}: most of it at the ${placeOf(heat, most)}`);
  return [canvas, paragraph(
    `What speaks for ${name} (${(100 * score).toFixed(1)} % in the center view). Red is the strongest place of this ` +
    `picture, at the ${placeOf(heat, most)}; there are ${heat[0].length} × ${heat.length} places.`,
  )];
}

/** The heat at a place of a picture, each from 0 to 1, between the places that it is known of. */
function between(heat, down, across) {
  const [rows, columns] = [heat.length, heat[0].length];
  const y = Math.min(Math.max(down * rows - 0.5, 0), rows - 1);
  const x = Math.min(Math.max(across * columns - 0.5, 0), columns - 1);
  const [top, left] = [Math.floor(y), Math.floor(x)];
  const [bottom, right] = [Math.min(top + 1, rows - 1), Math.min(left + 1, columns - 1)];
  const line = row => heat[row][left] + (x - left) * (heat[row][right] - heat[row][left]);
  return line(top) + (y - top) * (line(bottom) - line(top));
}

function colorOf(share) {
  const place = share * (COLORS.length - 1), below = Math.min(Math.floor(place), COLORS.length - 2);
  return COLORS[below].map((color, channel) => color + (place - below) * (COLORS[below + 1][channel] - color));
}

/** Where the strongest place lies, in words. */
function placeOf(heat, most) {
  const row = heat.findIndex(line => line.includes(most));
  const vertical = ROWS[Math.floor(3 * (row + 0.5) / heat.length)];
  const horizontal = COLUMNS[Math.floor(3 * (heat[row].indexOf(most) + 0.5) / heat[row].length)];
  if (vertical === "middle") return horizontal;
  return horizontal === "middle" ? vertical : `${vertical} ${horizontal}`;
}

/** Pictures of the maps of each convolution; returns elements for the page. */
async function showMaps({layers, shapes, png_bytes: pictures}, address, label) {
  const figures = layers.map((layer, place) => {
    const [height, width, count] = shapes[place];
    const points = height * width === 1;
    const size = points ? `${count} units` : `${Math.min(12, count)} of ${count} maps, ${width} × ${height}`;
    const [figure, caption] = ["figure", "figcaption"].map(name => document.createElement(name));
    const image = new Image();
    figure.className = points ? "maps points" : "maps";
    image.src = `data:image/png;base64,${pictures[place].b64}`;
    image.alt = `What ${layer} makes of ${label}`;
    caption.textContent = `${layer}: ${size}`;
    figure.append(caption, image);
    return figure;
  });
  const box = document.createElement("div");
  box.className = "layers";
  box.append(...figures);
  const towers = layers.some(layer => layer.endsWith(" b")) ? " a and b are the two towers." : "";
  return [paragraph(
    "Of each convolution the maps that vary most over the center view, each from its lowest value (dark) to its " +
    `highest (bright).${towers}`,
  ), box];
}

function paragraph(text) {
  const element = document.createElement("p");
  element.className = "note";
  element.textContent = text;
  return element;
}
