"""The blind test of the listening page: which of two sounds is the true instrument?

`python tools/blind.py FILE...` counts the answers that listeners saved there: how many are right,
with an exact binomial interval. Half of them are right by guessing. Of a listener who answered the
same question twice, the first answer counts, in whatever files it stands.
"""
import argparse
import json
import re
import sys
from pathlib import Path

from scipy.stats import binomtest

FORMAT = "mst blind test 1"
PAGE = """
<section id="blind"><h2>A blind test</h2>
<p>Two sounds of one place in a piece, equally loud: one is the <em>twin</em>, rendered with the
true instrument; the other is what the model made of another instrument's recording. Which is which
is drawn anew for each question, and told when you have answered. Half of the answers are right by
guessing. They stay in this browser, and nothing is sent anywhere; to have them counted with
others', save them as a file.</p>
<h3 id="question"></h3>
<div class="row pair">
<figure><figcaption>the first</figcaption><audio controls></audio>
<button class="say">The first is the true one</button></figure>
<figure><figcaption>the second</figcaption><audio controls></audio>
<button class="say">The second is the true one</button></figure>
</div>
<p id="told" aria-live="polite"></p>
<p><button id="next">Next question</button> <button id="save">Save the answers</button>
<button id="anew">Start anew</button> <span id="score"></span></p>
</section>
<script>const TRIALS = @TRIALS@, PAGE = "@PAGE@", FORMAT = "@FORMAT@";
(() => {
  const one = id => document.getElementById(id);
  const players = [...document.querySelectorAll("#blind audio")];
  const buttons = [...document.querySelectorAll("#blind .say")];
  const read = name => {
    try { return JSON.parse(localStorage.getItem(name)); } catch { return null; }
  };
  const write = (name, value) => {  // some browsers keep nothing of pages from disk
    try { localStorage.setItem(name, JSON.stringify(value)); } catch { /* until it is closed */ }
  };
  const listener = read("mst-listener") || Math.random().toString(36).slice(2);
  write("mst-listener", listener);
  const kept = read("mst-blind-" + PAGE);
  let answers = Array.isArray(kept) ? kept : [], trial = null, trueFirst = null;
  const which = isFirst => isFirst ? "first" : "second";

  function score() {
    const right = answers.filter(a => a.right).length;
    one("score").textContent = `${right} of ${answers.length} right`;
    one("save").disabled = one("anew").disabled = !answers.length;
  }
  function ask() {
    const left = TRIALS.filter(t => !answers.some(a => a.pair == t.pair));
    trial = left[Math.floor(Math.random() * left.length)];
    trueFirst = Math.random() < .5;
    for (const button of buttons) button.disabled = !trial;
    one("next").disabled = true;
    one("told").textContent = "";
    const number = `Question ${answers.length + 1} of ${TRIALS.length}`;
    one("question").textContent = trial
      ? `${number}: which of the two is the true ${trial.asked}?`
      : "These were all questions. Thank you!";
    players.forEach((player, k) => {
      player.pause();
      if (trial) player.src = (k == 0) == trueFirst ? trial.twin : trial.result;
      else player.removeAttribute("src");
    });
  }
  function answer(saidFirst) {
    const right = saidFirst == trueFirst, told = right ? "Right" : "Wrong";
    answers.push({pair: trial.pair, piece: trial.piece, asked: trial.asked, true_first: trueFirst,
                  said_first: saidFirst, right, time: new Date().toISOString()});
    write("mst-blind-" + PAGE, answers);
    for (const button of buttons) button.disabled = true;
    one("next").disabled = false;
    one("told").textContent = `${told}: the ${which(trueFirst)} is the true ${trial.asked}, the `
      + `${which(!trueFirst)} is what the model made (${trial.pair}: ${trial.piece}).`;
    score();
  }
  buttons.forEach((button, k) => button.addEventListener("click", () => answer(k == 0)));
  one("next").addEventListener("click", ask);
  one("anew").addEventListener("click", () => {
    answers = [];
    write("mst-blind-" + PAGE, answers);
    score();
    ask();
  });
  one("save").addEventListener("click", () => {
    const text = JSON.stringify({format: FORMAT, page: PAGE, listener, answers}, null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
    link.download = `mst_blind_${listener}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  players.forEach((player, k) => player.addEventListener("play", () => players[1 - k].pause()));
  score();
  ask();
})();
</script>
"""


def blind_test(trials, page):
    """The blind test as HTML. `trials`: for each question its pair, piece, the instrument asked
    for, and the addresses of `twin` and `result`; `page` is what answers are told apart by."""
    text = json.dumps(trials).replace("<", "\\u003c")  # no tag ends the script
    return PAGE.replace("@PAGE@", page).replace("@FORMAT@", FORMAT).replace("@TRIALS@", text)


def read_answers(path):
    """{(page, listener, pair): answer} of a saved file. ValueError, in a line, if it is none."""
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
        if saved["format"] != FORMAT:
            raise ValueError("another format")
        answers = {}
        for answer in saved["answers"]:
            key = str(saved["page"]), str(saved["listener"]), str(answer["pair"])
            flags = [answer["true_first"], answer["said_first"]]
            if not (all(isinstance(flag, bool) for flag in flags)
                    and re.fullmatch(r"[a-z][a-z ]{,39}", answer["asked"])):
                raise ValueError("an answer is damaged")
            row = {"asked": answer["asked"], "right": flags[0] == flags[1],
                   "time": str(answer["time"])}
            answers[key] = min(row, answers.get(key, row), key=lambda row: row["time"])
        return answers
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path}: holds no answers as the listening page saves them; save them "
                         "there again") from None


def count_answers(answers):
    """Rows of the instruments asked for, and of all: name, right answers, answers, share and 95 %
    interval, in %."""
    rows, answers = [], list(answers)
    for name in (*sorted({answer["asked"] for answer in answers}), "all"):
        right = [answer["right"] for answer in answers if name in ("all", answer["asked"])]
        low, high = binomtest(sum(right), len(right)).proportion_ci(.95)  # Clopper and Pearson
        rows.append((name, str(sum(right)), str(len(right)), f"{100 * sum(right) / len(right):.0f}",
                     f"[{100 * low:.0f}, {100 * high:.0f}]"))
    return rows


def main(argv=None):
    """Count saved answers; exit status 2 if a file holds none."""
    parser = argparse.ArgumentParser("blind.py", description=__doc__.partition("\n\n")[2])
    parser.add_argument("files", nargs="+", metavar="FILE", help="answers, as the page saves them")
    merged, failed = {}, False
    for path in parser.parse_args(argv).files:
        try:
            for key, row in read_answers(path).items():
                merged[key] = min(row, merged.get(key, row), key=lambda row: row["time"])
        except ValueError as error:
            print(f"blind.py: {' '.join(str(error).split())}", file=sys.stderr)
            failed = True
    if merged:
        print(f"{len({key[:2] for key in merged})} listeners; half is right by guessing")
        for cells in (("the true one", "right", "of", "%", "95 % interval"),
                      *count_answers(merged.values())):
            print("{:16}{:>6}{:>6}{:>6}  {}".format(*cells))
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
