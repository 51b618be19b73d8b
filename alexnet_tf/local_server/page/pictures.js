// Reads picture files, converts those that the model cannot read, and draws examples.

const KINDS = [[0xff, 0xd8, 0xff], [0x89, 0x50, 0x4e, 0x47], [0x47, 0x49, 0x46, 0x38]]; // JPEG, PNG, GIF
const SHORTER_SIDE = 1024; // pixels of a converted picture at most; the network sees 256 of them
const LARGEST_FACTOR = 100; // of the longer side to the shorter, as the model takes it

/** Whether a file begins like one that the model reads. */
export async function isForModel(file) {
  const start = new Uint8Array(await read(file.slice(0, 4)));
  return KINDS.some(kind => kind.every((byte, place) => start[place] === byte));
}

/** A file's bytes as base64. */
export async function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(unreadable());
    reader.readAsDataURL(file);
  });
}

async function read(blob) {
  try {
    return await blob.arrayBuffer();
  } catch {
    throw unreadable();
  }
}

function unreadable() {
  return new Error("the file cannot be read; if it is a folder, open it and choose the pictures in it");
}

/**
 * A file that this browser can show as a PNG file, or a JPEG file where that has more bytes than `most`; null if it
 * cannot show it.
 *
 * It is turned by its EXIF orientation if the model does so with the files that it reads (`exif` is "apply"). The color
 * profile is left out of account, as by the model, and transparent places become white.
 */
export async function converted(file, most, exif) {
  const picture = await shown(file, exif);
  if (picture === null) return null;
  const [width, height] = [picture.width || SHORTER_SIDE, picture.height || SHORTER_SIDE]; // an SVG may have no size
  const longest = Math.max(width, height) / Math.min(width, height);
  if (longest > LARGEST_FACTOR) return null;
  const scale = Math.min(1, SHORTER_SIDE / Math.min(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close?.();
  const png = await fileOf(canvas, "image/png");
  return png.size <= most ? png : fileOf(canvas, "image/jpeg");
}

async function shown(file, exif) {
  const imageOrientation = exif === "apply" ? "from-image" : "none";
  try {
    return await createImageBitmap(file, {imageOrientation, colorSpaceConversion: "none"});
  } catch {
    return shownAsElement(file.type ? file : new Blob([file], {type: "image/svg+xml"})); // which needs its type told
  }
}

/** A small picture of a file, for a button that says in words what it is. */
export async function imageOf(file) {
  const image = await shownAsElement(file);
  if (image !== null) image.alt = "";
  return image ?? document.createElement("span");
}

async function shownAsElement(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
    return image;
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

function fileOf(canvas, type) {
  return new Promise(resolve => canvas.toBlob(resolve, type, 0.92));
}

const EXAMPLES = {
  star(context) {
    context.beginPath();
    for (let corner = 0; corner < 10; corner++) {
      const radius = corner % 2 ? 0.4 : 1;
      context.lineTo(radius * Math.sin(corner * Math.PI / 5), -radius * Math.cos(corner * Math.PI / 5));
    }
    context.fill();
  },
  ring(context) {
    context.beginPath();
    context.arc(0, 0, 0.95, 0, 2 * Math.PI);
    context.arc(0, 0, 0.65, 0, 2 * Math.PI, true);
    context.fill();
  },
  checkerboard(context) {
    for (let row = 0; row < 4; row++) {
      for (let column = row % 2; column < 4; column += 2) {
        context.fillRect(column * 0.35 - 0.7, row * 0.35 - 0.7, 0.35, 0.35);
      }
    }
  },
  stripes(context) {
    for (let bar = 0; bar < 5; bar++) context.fillRect(bar * 0.28 - 0.7, -0.7, 0.15, 1.4);
  },
};

/** Names of the examples and their pictures: bright shapes on a dark, uneven ground, turned a little. */
export function drawnExamples() {
  return Object.entries(EXAMPLES).map(([name, draw], place) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 320;
    const context = canvas.getContext("2d");
    const ground = context.createLinearGradient(0, 0, 320, 320);
    ground.addColorStop(0, `hsl(${90 * place + 200} 30% 18%)`);
    ground.addColorStop(1, `hsl(${90 * place + 230} 30% 30%)`);
    context.fillStyle = ground;
    context.fillRect(0, 0, 320, 320);
    context.translate(160, 160);
    context.rotate(0.2 + 0.3 * place);
    context.scale(105, 105);
    context.fillStyle = `hsl(${80 * place + 50} 80% 72%)`;
    draw(context);
    const file = async () => new File([await fileOf(canvas, "image/png")], `example: ${name}`, {type: "image/png"});
    return {name, shown: canvas, file};
  });
}
