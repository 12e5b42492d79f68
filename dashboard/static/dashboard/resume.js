// The form as it was sent, at once: its page shows it and does nothing yet. Without this file a button leads there.
"use strict";

document.getElementById("resume")?.requestSubmit();
