export default function({ parentElement, data, setTriggerValue }) {
  const group = parentElement.querySelector(".pictures");
  const offered = JSON.stringify([data.several, data.pictures.map((picture) => picture.name)]);
  if (group.offered !== offered) { // else they stay, with the keyboard's focus
    group.offered = offered;
    group.setAttribute("role", data.several ? "group" : "radiogroup");
    group.setAttribute("aria-label", data.label);
    group.replaceChildren(...data.pictures.map(({ name, label, url }) => {
      const choice = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: data.several ? "checkbox" : "radio", name: "picture", value: name });
      const image = Object.assign(new Image(), { src: url, alt: label });
      choice.title = label;
      choice.append(input, image);
      return choice;
    }));
  }
  const inputs = [...group.querySelectorAll("input")];
  for (const input of inputs) input.checked = data.chosen.includes(input.value);
  group.onchange = () =>
    setTriggerValue("chosen", inputs.filter((input) => input.checked).map((input) => input.value));
}
