// Texts of the page whose contrast is below 4.5 to 1 (WCAG 2.2, 1.4.3); the body of a function.
const rgb = (text) => text.match(/[\d.]+/g).map(Number);
const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => [r, g, b].map(linear)
  .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
const behind = (element) => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const colour = rgb(getComputedStyle(e).backgroundColor);
    layers.push(colour.length < 4 ? [...colour, 1] : colour);
  }
  return layers.reverse().reduce((below, [r, g, b, a]) => below.map((v, k) => v * (1 - a) + [r, g, b][k] * a), [255, 255, 255]);
};
const poor = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const style = getComputedStyle(element);
  if (!own || element.closest(":disabled") || !element.checkVisibility() || element.tagName === "OPTION") continue;
  if (element.namespaceURI !== "http://www.w3.org/1999/xhtml") continue;
  const below = behind(element);
  const alpha = Number(style.opacity);
  const ink = rgb(style.color).slice(0, 3).map((v, k) => v * alpha + below[k] * (1 - alpha));
  const [high, low] = [light(ink), light(below)].sort((a, b) => b - a);
  const ratio = (high + 0.05) / (low + 0.05);
  if (ratio < 4.5) poor.push([element.outerHTML.slice(0, 90), ratio]);
}
return poor;
