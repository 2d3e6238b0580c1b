// Masks: the picture, what lies over it, and the regions that can be ticked.

const LAYERS = [["result", "Result"], ["given", "Given"], ["corrected", "Corrected"], ["photo", "Picture alone"]];
const OPACITY = 0.55;
const WIDE = 900; // pixels that a small mask is drawn at least as wide as, so that outlines are fine
const INK = { on: [30, 190, 110], off: [230, 80, 40], current: [255, 255, 255] };

function loaded(source) {
  return new Promise((resolve) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => resolve(null);
    picture.src = source;
  });
}

export class Regions {
  constructor(canvas, list, layers, changed) {
    Object.assign(this, { canvas, list, layers, changed, item: null, drawn: null, ticked: [], current: 0, layer: "result" });
    canvas.addEventListener("click", (event) => this.clicked(event));
    for (const [name, text] of LAYERS) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.dataset.layer = name;
      button.addEventListener("click", () => this.setLayer(name));
      layers.append(button);
    }
  }

  ready(item) { return this.drawn === item.at; }

  async show(item, run) {
    const same = this.item === item;
    this.item = item;
    this.run = run;
    if (!same || item.decision) {
      const rejected = new Set(item.decision?.regions?.rejected ?? (item.decision?.action === "keep" ? item.regions.regions.map((each) => each.id) : []));
      this.ticked = item.regions.regions.map((each) => !rejected.has(each.id));
      this.current = 0;
    }
    this.drawList();
    this.drawLayers();
    this.drawn = null;
    const names = ["given", "corrected", "regions"].map((name) => `layer/${item.at}/${name}`);
    const pictures = await Promise.all([...(item.image ? [`picture/${item.at}`] : []), ...names].map(loaded));
    if (this.item !== item) return; // the reader has gone on
    const photo = item.image ? pictures.shift() : null;
    const [given, corrected, places] = pictures;
    if (!given || !corrected || !places) throw new Error("The masks of this item cannot be read; reload the page.");
    this.photo = photo;
    this.masks = { given: this.pixels(given), corrected: this.pixels(corrected) };
    this.places = this.pixels(places);
    this.drawn = item.at;
    this.draw();
    if (item.image && !photo) throw new Error(await this.why(item.at));
  }

  async why(at) {
    try {
      return (await (await fetch(`picture/${at}`)).json()).error;
    } catch {
      return "The picture of this item cannot be shown.";
    }
  }

  pixels(picture) {
    const board = document.createElement("canvas");
    [board.height, board.width] = this.item.regions.size;
    const context = board.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, 0, 0, board.width, board.height);
    return context.getImageData(0, 0, board.width, board.height);
  }

  decision() {
    const ids = this.item.regions.regions.map((each) => each.id);
    return { accepted: ids.filter((_, place) => this.ticked[place]), rejected: ids.filter((_, place) => !this.ticked[place]) };
  }

  // ---------------------------------------------------------------- drawing

  draw() {
    const [height, width] = this.item.regions.size;
    const zoom = Math.max(1, Math.ceil(WIDE / Math.max(width, height)));
    this.canvas.width = width * zoom;
    this.canvas.height = height * zoom;
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#808080";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.photo) context.drawImage(this.photo, 0, 0, this.canvas.width, this.canvas.height);
    if (this.layer !== "photo") this.drawMask(context);
    if (this.layer !== "photo") this.drawOutlines(context, width, height, zoom);
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `Picture of ${this.item.id} with ${this.ticked.length} regions; the list has them as buttons`);
  }

  drawMask(context) {
    const mask = this.layer === "result" ? this.result() : this.masks[this.layer];
    const board = document.createElement("canvas");
    board.width = mask.width;
    board.height = mask.height;
    board.getContext("2d").putImageData(mask, 0, 0);
    context.globalAlpha = OPACITY;
    context.imageSmoothingEnabled = false;
    context.drawImage(board, 0, 0, this.canvas.width, this.canvas.height);
    context.globalAlpha = 1;
  }

  result() {
    const { given, corrected } = this.masks;
    const mixed = new ImageData(new Uint8ClampedArray(given.data), given.width, given.height);
    const from = new Uint32Array(corrected.data.buffer);
    const to = new Uint32Array(mixed.data.buffer);
    for (let pixel = 0; pixel < to.length; pixel += 1) {
      const place = this.placeAt(pixel);
      if (place >= 0 && this.ticked[place]) to[pixel] = from[pixel];
    }
    return mixed;
  }

  placeAt(pixel) {
    const data = this.places.data;
    return data[4 * pixel] * 65536 + data[4 * pixel + 1] * 256 + data[4 * pixel + 2] - 1;
  }

  drawOutlines(context, width, height, zoom) {
    const thick = Math.max(1, Math.round(Math.max(width, height) * zoom / 450));
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const place = this.placeAt(y * width + x);
        if (place < 0) continue;
        const ink = place === this.current ? INK.current : this.ticked[place] ? INK.on : INK.off;
        context.fillStyle = `rgb(${ink.join(" ")})`;
        const differs = (left, down) => left < 0 || down < 0 || left >= width || down >= height || this.placeAt(down * width + left) !== place;
        if (differs(x - 1, y)) context.fillRect(x * zoom, y * zoom, thick, zoom);
        if (differs(x + 1, y)) context.fillRect((x + 1) * zoom - thick, y * zoom, thick, zoom);
        if (differs(x, y - 1)) context.fillRect(x * zoom, y * zoom, zoom, thick);
        if (differs(x, y + 1)) context.fillRect(x * zoom, (y + 1) * zoom - thick, zoom, thick);
      }
    }
  }

  drawLayers() {
    for (const button of this.layers.children) button.setAttribute("aria-pressed", String(button.dataset.layer === this.layer));
  }

  drawList() {
    const name = (number) => (number < 0 ? "several" : this.run.classes[number].name);
    const total = this.item.regions.size[0] * this.item.regions.size[1];
    this.list.replaceChildren(...this.item.regions.regions.map((region, place) => {
      const line = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(this.ticked[place]));
      button.className = place === this.current ? "current" : "";
      const mark = document.createElement("span");
      mark.textContent = this.ticked[place] ? "☑" : "☐";
      mark.setAttribute("aria-hidden", "true");
      const text = document.createElement("span");
      text.textContent = region.id < 0 ? "small differences" : `${name(region.given)} → ${name(region.suggested)}`;
      const size = document.createElement("span");
      size.className = "size";
      const share = (100 * region.pixels) / total;
      size.textContent = `${share < 0.1 ? "< 0.1" : share.toFixed(1)} %`;
      button.append(mark, text, size);
      button.addEventListener("click", () => { this.current = place; this.toggle(); });
      line.append(button);
      return line;
    }));
  }

  // ---------------------------------------------------------------- what the reader does

  refresh() {
    const focused = this.list.contains(document.activeElement);
    this.drawList();
    if (focused) this.list.children[this.current].firstChild.focus();
    if (this.drawn === this.item.at) this.draw();
    this.changed();
  }

  step(by) {
    const count = this.ticked.length;
    if (!count) return;
    this.current = (this.current + by + count) % count;
    this.refresh();
    this.list.children[this.current].scrollIntoView({ block: "nearest" });
  }

  toggle() {
    if (!this.ticked.length) return;
    this.ticked[this.current] = !this.ticked[this.current];
    this.refresh();
  }

  toggleAll() {
    const all = this.ticked.every(Boolean);
    this.ticked = this.ticked.map(() => !all);
    this.refresh();
  }

  setLayer(name) {
    this.layer = name;
    this.drawLayers();
    if (this.drawn === this.item?.at) this.draw();
  }

  nextLayer() {
    const names = LAYERS.map(([name]) => name);
    this.setLayer(names[(names.indexOf(this.layer) + 1) % names.length]);
  }

  clicked(event) {
    if (!this.item || this.drawn !== this.item.at) return;
    const [height, width] = this.item.regions.size;
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * height);
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const place = this.placeAt(y * width + x);
    if (place < 0) return;
    this.current = place;
    this.toggle();
  }

  spoken() {
    const region = this.item?.regions.regions[this.current];
    if (!region) return "";
    const name = (number) => (number < 0 ? "several" : this.run.classes[number].name);
    const what = region.id < 0 ? "small differences" : `${name(region.given)} to ${name(region.suggested)}`;
    return `Region ${this.current + 1} of ${this.ticked.length}, ${what}: ${this.ticked[this.current] ? "ticked" : "not ticked"}`;
  }
}
