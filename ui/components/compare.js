export default function({ parentElement, data }) {
  const frame = parentElement.querySelector(".compare");
  for (const side of ["before", "after"]) {
    const image = frame.querySelector(`.${side}`);
    if (image.src !== data[side]) image.src = data[side];
  }
  const range = frame.querySelector("input");
  const move = () => {
    frame.style.setProperty("--at", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % photo`);
  };
  range.oninput = move;
  move();
}
