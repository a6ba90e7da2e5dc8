const NAME = "style_transfer_visit";

export default function({ data, setStateValue }) {
  try {
    const kept = sessionStorage.getItem(NAME);
    if (kept && kept !== data.key && kept !== data.offered) setStateValue("kept", kept);
    else sessionStorage.setItem(NAME, data.key);
  } catch { /* A browser that blocks storage shows the page all the same; only a reload starts anew. */ }
}
