export default function({ parentElement, data, setTriggerValue }) {
  const find = (selector) => parentElement.querySelector(selector);
  const image = find("img"), canvas = find("canvas"), brush = find("input"), pen = canvas.getContext("2d");
  const colour = getComputedStyle(canvas).getPropertyValue("--st-primary-color") || "#b5472f";
  const tools = [...parentElement.querySelectorAll("[data-tool]")];
  const tool = () => tools.find((button) => button.getAttribute("aria-pressed") === "true").dataset.tool;

  // The mask on screen is coloured and transparent; the mask sent is white on black.
  const over = (paint) => {
    const sheet = new OffscreenCanvas(canvas.width, canvas.height), at = sheet.getContext("2d");
    at.drawImage(canvas, 0, 0);
    paint(at);
    return sheet;
  };
  const fill = (at, style, mode) => {
    at.globalCompositeOperation = mode;
    at.fillStyle = style;
    at.fillRect(0, 0, canvas.width, canvas.height);
  };
  const send = () => {
    const white = over((at) => { fill(at, "white", "source-in"); fill(at, "black", "destination-over"); });
    const out = document.createElement("canvas");
    out.width = canvas.width; out.height = canvas.height;
    out.getContext("2d").drawImage(white, 0, 0);
    const painted = pen.getImageData(0, 0, canvas.width, canvas.height).data.some((value, at) => at % 4 === 3 && value);
    canvas.shown = painted ? out.toDataURL("image/png") : "";
    setTriggerValue("mask", data.which + " " + canvas.shown);
  };
  const show = async (mask) => {
    canvas.shown = mask;
    pen.globalCompositeOperation = "source-over";
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!mask) return;
    const picture = new Image();
    picture.src = mask;
    await picture.decode();
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < pixels.data.length; at += 4) pixels.data[at + 3] = pixels.data[at];
    pen.putImageData(pixels, 0, 0);
    fill(pen, colour, "source-in");
  };
  if (canvas.which !== data.which || canvas.shown !== data.mask) {
    canvas.which = data.which;
    image.src = data.picture;
    image.alt = data.alt;
    [canvas.width, canvas.height] = data.size;
    show(data.mask);
  }

  let last = null;
  const stroke = (event) => {
    const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
    const here = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    pen.globalCompositeOperation = tool() === "erase" ? "destination-out" : "source-over";
    pen.strokeStyle = colour;
    pen.lineWidth = brush.value / 100 * canvas.width;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...(last ?? here));
    pen.lineTo(...here);
    pen.stroke();
    last = here;
  };
  canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); last = null; stroke(event); };
  canvas.onpointermove = (event) => { if (last) stroke(event); };
  canvas.onpointerup = canvas.onpointercancel = () => { if (last) { last = null; send(); } };
  for (const button of tools) button.onclick = () => {
    for (const other of tools) other.setAttribute("aria-pressed", other === button);
  };
  find("[data-do=clear]").onclick = () => { pen.clearRect(0, 0, canvas.width, canvas.height); send(); };
  find("[data-do=invert]").onclick = () => { fill(pen, colour, "xor"); send(); };
}
