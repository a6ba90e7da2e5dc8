const TINT = "#ff1f8f", MOST_UNDOS = 20;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const fill = (pen, style, mode) => {
  pen.globalCompositeOperation = mode;
  pen.fillStyle = style;
  pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
};

let painter; // outlives the page's element, which Streamlit may build anew during a stroke

// The mask is what is on the canvas: coloured and partly transparent, where the one that is sent is white on black.
// It is drawn from outside only when there is another one, so that no answer undoes a stroke that came meanwhile.
export default function({ parentElement, data, setTriggerValue }) {
  const built = parentElement.querySelector(".painter");
  painter ??= built;
  if (built !== painter) built?.replaceWith(painter);
  const find = (selector) => painter.querySelector(selector);
  const image = find("img"), canvas = find("canvas"), ring = find(".ring"), brush = find("input");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const tools = [...painter.querySelectorAll("[data-tool]")];
  const erases = () => find("[aria-pressed=true]").dataset.tool === "erase";
  const pixels = () => pen.getImageData(0, 0, canvas.width, canvas.height);
  const remember = () => { canvas.past = [...canvas.past, pixels()].slice(-MOST_UNDOS); };

  const say = () => {
    const { data: values } = pixels();
    let painted = 0;
    for (let at = 3; at < values.length; at += 4) painted += values[at];
    const share = painted / 255 / (values.length / 4);
    find("[role=status]").textContent = painted ? `${Math.max(1, Math.round(100 * share))} % masked. ` : "";
    return painted > 0;
  };
  const send = () => {
    canvas.changed = false;
    const out = document.createElement("canvas"), sheet = out.getContext("2d");
    [out.width, out.height] = [canvas.width, canvas.height];
    sheet.drawImage(canvas, 0, 0);
    fill(sheet, "white", "source-in");
    fill(sheet, "black", "destination-over");
    setTriggerValue("mask", `${data.which} ${say() ? out.toDataURL("image/png") : ""}`);
  };
  const change = (how) => { remember(); how(); send(); };

  const show = async (mask) => {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (mask) {
      const picture = new Image();
      picture.src = mask;
      await picture.decode();
      pen.globalCompositeOperation = "source-over";
      pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
      const drawn = pixels();
      for (let at = 0; at < drawn.data.length; at += 4) drawn.data[at + 3] = drawn.data[at];
      pen.putImageData(drawn, 0, 0);
      fill(pen, TINT, "source-in");
    }
    say();
  };
  if (canvas.which !== data.which || canvas.uploads !== data.uploads) {
    if (canvas.which === data.which) remember();
    else {
      image.src = data.picture;
      image.alt = data.alt;
      canvas.setAttribute("aria-label", data.label);
      [canvas.width, canvas.height] = data.size;
      canvas.past = [];
      canvas.at = [canvas.width / 2, canvas.height / 2];
    }
    [canvas.which, canvas.uploads] = [data.which, data.uploads];
    show(data.mask);
  }

  const move = (to) => {
    canvas.at = [Math.min(Math.max(to[0], 0), canvas.width), Math.min(Math.max(to[1], 0), canvas.height)];
    ring.style.left = `${canvas.at[0] / canvas.width * 100}%`;
    ring.style.top = `${canvas.at[1] / canvas.height * 100}%`;
    ring.style.width = `${brush.value}%`;
  };
  const stroke = (from) => {
    pen.globalCompositeOperation = erases() ? "destination-out" : "source-over";
    pen.strokeStyle = pen.shadowColor = TINT;
    pen.lineWidth = brush.value / 100 * canvas.width;
    pen.shadowBlur = pen.lineWidth / 4; // soft edges, so that two styles meet without a seam
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(canvas.at[0] + .01, canvas.at[1]); // a line of no length is not drawn
    pen.stroke();
    pen.shadowBlur = 0;
    canvas.changed = true;
  };
  const finish = () => { if (canvas.changed) send(); };
  const undo = () => {
    const before = canvas.past.pop();
    if (!before) return;
    pen.putImageData(before, 0, 0);
    send();
  };

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map((side) => side * canvas.width / box.width);
  };
  canvas.onpointerdown = (event) => {
    canvas.held = true;
    canvas.setPointerCapture(event.pointerId);
    remember();
    move(place(event));
    stroke(canvas.at);
  };
  canvas.onpointermove = (event) => {
    const from = canvas.at;
    move(place(event));
    if (!canvas.held || !event.buttons) return;
    canvas.setPointerCapture(event.pointerId); // a rebuilt element has lost it
    stroke(from);
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    canvas.held = false;
    finish();
  };
  canvas.onkeydown = (event) => {
    const arrow = ARROWS[event.key], from = canvas.at;
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
    else if (arrow || event.key === " ") {
      if (arrow) move(from.map((side, axis) => side + arrow[axis] * brush.value / 200 * canvas.width));
      if (!arrow || event.shiftKey) {
        if (!event.repeat) remember();
        stroke(from);
      }
    } else return;
    event.preventDefault();
  };
  canvas.onkeyup = finish;
  canvas.onfocus = brush.oninput = () => move(canvas.at);

  for (const button of tools) button.onclick = () => {
    for (const other of tools) other.setAttribute("aria-pressed", other === button);
  };
  find("[data-do=undo]").onclick = undo;
  find("[data-do=invert]").onclick = () => change(() => fill(pen, TINT, "xor"));
  find("[data-do=clear]").onclick = () => change(() => pen.clearRect(0, 0, canvas.width, canvas.height));
}
