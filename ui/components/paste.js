const KEYS = /Mac|iP(hone|ad)/.test(navigator.platform) ? "⌘V" : "Ctrl+V";

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
        const type = item.types.find((one) => one.startsWith("image/"));
        if (type) return take(await item.getType(type));
      }
      say("No picture copied.");
    } catch { say(data.listens ? `Press ${KEYS}.` : "Blocked by the browser."); }
  };
  if (!data.listens) return;
  const pasted = (event) => {
    const file = event.clipboardData?.files[0];
    if (!file) return;
    event.preventDefault();
    take(file); // of any kind: the answer says which kinds can be read
  };
  // A property holds one listener, however often the page draws this; Streamlit's clean-up may come after the next draw.
  document.onpaste = pasted;
  return () => { if (document.onpaste === pasted) document.onpaste = null; };
}
