"use strict";
document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const code = button.parentElement.querySelector("code");
  const done = (said) => {
    button.textContent = said;
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  const select = () => {
    getSelection().selectAllChildren(code);
    done(document.execCommand("copy") ? "Copied" : "Selected");
  };
  // Browsers give the clipboard to pages from this machine and from https only.
  if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(() => done("Copied"), select);
  else select();
});
