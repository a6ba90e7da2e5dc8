export default function({ data, setStateValue }) {
  const name = "style_transfer_visit";
  const kept = sessionStorage.getItem(name);
  if (kept && kept !== data.key && kept !== data.offered) setStateValue("kept", kept);
  else sessionStorage.setItem(name, data.key);
}
