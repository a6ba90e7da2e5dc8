export default function({ parentElement, data, setTriggerValue }) {
  const button = parentElement.querySelector("button");
  const say = (words) => { parentElement.querySelector("[role=status]").textContent = words; };
  button.setAttribute("aria-label", data.label);
  const bring = (blob) => {
    if (blob.size > data.most) return say(data.tooLarge);
    const reader = new FileReader();
    reader.onload = () => setTriggerValue("picture", reader.result);
    reader.readAsDataURL(blob);
    say("");
  };
  button.onclick = async () => {
    try {
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((type) => type.startsWith("image/"));
        if (type) return bring(await item.getType(type));
      }
      say("No picture there.");
    } catch { say(data.listens ? "Press Ctrl+V." : "Not allowed."); }
  };
  if (!data.listens) return;
  const pasted = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
    if (file) { event.preventDefault(); bring(file); }
  };
  document.addEventListener("paste", pasted);
  return () => document.removeEventListener("paste", pasted);
}
