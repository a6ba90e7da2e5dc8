export default function({ parentElement, data, setTriggerValue }) {
  const button = parentElement.querySelector("button");
  const say = (words) => { parentElement.querySelector("[role=status]").textContent = words; };
  button.setAttribute("aria-label", data.label);
  const take = (blob) => {
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
        if (type) return take(await item.getType(type));
      }
      say("No picture copied.");
    } catch { say(data.listens ? "Press Ctrl+V or ⌘V." : "Blocked by the browser."); }
  };
  if (!data.listens) return;
  const pasted = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
    if (file) { event.preventDefault(); take(file); }
  };
  document.addEventListener("paste", pasted);
  return () => document.removeEventListener("paste", pasted);
}
