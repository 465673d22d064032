#include "run/help_text.h"

#include <cstdio>
#include <map>
#include <string>

#include "base/terminal.h"
#include "launch/commands.h"
#include "launch/study_call.h"
#include "run/command_line.h"
#include "run/version.h"

namespace mumoe::launch {
namespace {

using run::HelpText;

const run::OwnOption kHelpItself = {"help", "", "this text; also -h"};

void overview(HelpText& help) {
  help.paragraph(
          "mumoe trains models whose MLPs are multilinear mixtures of experts.")
      .command(
          "launch/mpirun -n RANKS mumoe train [--config FILE] [--section.key "
          "value] ...")
      .command(
          "mumoe sample --run FOLDER [--prompt TEXT] [--tokens N] "
          "[--temperature X] [--top-k N] [--top-p X] [--seed N]")
      .command(
          "launch/mpirun -n RANKS mumoe eval --run FOLDER [--data SOURCE] "
          "[--windows N|all] [--choices FILE] [--json FILE]")
      .command(
          "mumoe data [--config FILE] [--data.source S] [--data.tokenizer T] "
          "[--out FOLDER]")
      .command("mumoe convert --from PATH --to PATH [--as FORMAT] [--dtype T]")
      .command(
          "mumoe inspect PATH [--other PATH] [--tensors WORD] "
          "[--verify yes|no] [--json FILE]")
      .command(
          "mumoe predict-check FILE ... [--many FILE] [--machine NAME] "
          "[--machines FILE] [--seed N] [--json FILE]")
      .command(
          "mumoe plan [--config FILE] [--section.key value] ... "
          "[--machine NAME] [--nodes N] [--gpus-per-node N] [--json FILE]")
      .command(
          "mumoe bench layer [--case NAME] [--device cpu|cuda] "
          "[--precision fp32|bf16] [--rounds N]")
      .command(
          "mumoe bench kernels [--tokens N] [--precision fp32|bf16] [--json]")
      .command(
          "launch/mpirun -n RANKS mumoe bench comm [--ops A,B] [--axes A,B] "
          "[--sizes R] ...")
      .command(
          "mumoe scale STUDY.json --out FOLDER [--runner mpirun|slurm] "
          "[--retry yes|no] [--dry-run yes|no] [--json FILE]")
      .command(
          "mumoe simulate [--config FILE] [--section.key value] ... "
          "[--machine NAME|here] [--nodes N] [--json FILE]")
      .command(
          "launch/mpirun -n RANKS mumoe study NAME --run FOLDER [--data "
          "SOURCE] [--json FILE] ...")
      .command(
          "mumoe report RUN ... [--out FOLDER] [--json FILE] "
          "[--tensorboard FOLDER]")
      .command("mumoe help [SUBCOMMAND]")
      .command("mumoe --version")
      .heading("Exit codes")
      .option("0", "done")
      .option("1", "internal error")
      .option("2", "bad input")
      .option("3",
              "preempted: stopped by a signal; what was saved is in train.out")
      .option("4", "loss or gradient not finite")
      .option("5", "communication failure");
}

void train(HelpText& help) {
  help.command(
          "launch/mpirun -n RANKS mumoe train [--config FILE] [--section.key "
          "value] ...")
      .paragraph(
          "Trains a model and writes a run directory (train.out) with "
          "config.cfg, metrics.jsonl, provenance.json and checkpoints/. The "
          "same command with --train.resume goes on from the newest "
          "checkpoint.")
      .paragraph(
          "Without --config it is the default recipe, a small GPT-2 (the text "
          "of configs/gpt2_cp_small.cfg); a run that resumes takes the "
          "config.cfg of its folder, one that branches (train.branch) that of "
          "the run that it branches off.")
      .paragraph(
          "FILE has lines `[section]`, `key = value` and `# comment`. A value "
          "with ` #`, or with blanks at its ends, stands in quotes: source = "
          "\"/data/set #2\".")
      .paragraph(
          "N is a whole number, X any number; in brackets stands what a key is "
          "that no FILE and no option gives.")
      .options(run::train_options())
      .options({kHelpItself})
      .keys("*");
}

void sample(HelpText& help) {
  help.paragraph(
          "mumoe sample: continues a text with the model of a run directory.")
      .options(sample_options())
      .options({kHelpItself});
}

void eval(HelpText& help) {
  help.command(
          "launch/mpirun -n RANKS mumoe eval --run FOLDER [--data SOURCE] "
          "[--windows N|all] [--choices FILE] [--json FILE]")
      .paragraph(
          "mumoe eval: what the model of a run directory says of a text (loss, "
          "perplexity, bits a byte) and of questions with several endings. "
          "Alone or on several ranks, of any dp x tp: the result is that of "
          "one.")
      .options(eval_options())
      .options({kHelpItself})
      .keys("parallel");
}

void data(HelpText& help) {
  help.paragraph(
          "mumoe data: fetches and prepares a corpus, and says where it lies.")
      .options(data_options())
      .options({kHelpItself})
      .keys("data");
}

void convert(HelpText& help) {
  help.paragraph(
          "mumoe convert: weights from one program's files to another's. Whose "
          "they are is seen by the names in them. With --consolidate, of a "
          "checkpoint of several files one of one file.")
      .options(convert_options())
      .options({kHelpItself})
      .paragraph(
          "What files do not tell of a model is given, such as --model.heads "
          "of "
          "nanoGPT:")
      .keys("model");
}

void inspect(HelpText& help) {
  help.command(
          "mumoe inspect PATH [--other PATH] [--tensors WORD] "
          "[--verify yes|no] [--json FILE]")
      .paragraph(
          "mumoe inspect: what a run directory or a checkpoint holds, and "
          "whether it is what was written; with --other, in what two "
          "checkpoints differ. What is damaged is named, and the exit code is "
          "then 2.")
      .options(inspect_options())
      .options({kHelpItself});
}

void predict_check(HelpText& help) {
  help.command(
          "mumoe predict-check FILE ... [--many FILE] [--machine NAME] "
          "[--machines FILE] [--seed N] [--json FILE]")
      .paragraph(
          "mumoe predict-check: how close predicted step times come to "
          "measured ones of dense GPTs. Runs on one node are predicted from "
          "others of them, runs on several nodes from all on one node and the "
          "machine's links; and what the layout costs that is predicted to be "
          "the fastest. FILE is CSV with the columns # GPUs, global batch, "
          "micro batch, hidden size, attention heads, # layers, sequence "
          "length, tensor parallelism, data parallelism, iteration time (ms).")
      .options(predict_check_options())
      .options({kHelpItself});
}

void plan(HelpText& help) {
  help.command(
          "mumoe plan [--config FILE] [--section.key value] ... "
          "[--machine NAME] [--nodes N] [--gpus-per-node N] [--json FILE]")
      .paragraph(
          "mumoe plan: what a run will need of GPUs that need not be here: its "
          "layouts, the fastest first, with the memory of a rank, the time of "
          "a step and an interval, and what each rank moves; why the others "
          "cannot be; and the command line. Nothing is measured. A key of the "
          "layout that is given (parallel.tp, train.micro_batch, ...) is not "
          "looked for.")
      .options(plan_options())
      .options({kHelpItself})
      .keys("*");
}

void simulate(HelpText& help) {
  help.command(
          "mumoe simulate [--config FILE] [--section.key value] ... "
          "[--machine NAME] [--nodes N] [--gpus-per-node N] [--json FILE]")
      .command(
          "launch/mpirun -n RANKS mumoe simulate [--section.key value] ...")
      .command("mumoe train --simulate ...: the same")
      .paragraph(
          "mumoe simulate: the step of one rank of a run of any size, as the "
          "trainer makes it, on LibTorch's meta device: operations are not "
          "computed but charged, collectives take the time of a link, and a "
          "clock that is not there passes. Shows where its time goes; "
          "--log.trace FILE writes a Chrome trace of it. On machine here the "
          "ranks that are started first measure, together, what operations "
          "take on this CPU; the run may have other ranks: --parallel.dp, "
          "--parallel.tp. Their link is --parallel.link, or measured.")
      .options(simulate_options())
      .options({kHelpItself})
      .keys("*");
}

void bench(HelpText& help) {
  help.paragraph(
          "mumoe bench layer: times μMoE blocks and the dense MLPs they "
          "replace, forward and backward, on 4096 tokens, and counts the bytes "
          "held for backward.")
      .options(bench_layer_options())
      .paragraph(
          "mumoe bench kernels: times each kernel and product of a micro-batch "
          "of the 124M recipe on a GPU, alone, with the bytes and FLOPs that "
          "it needs at least.")
      .options(bench_kernels_options())
      .paragraph(
          "mumoe bench comm: times collectives and checks their results, with "
          "the columns of nccl-tests: algbw = size / time, busbw = algbw times "
          "2(n-1)/n for all_reduce, (n-1)/n for all_gather, reduce_scatter and "
          "all_to_all, 1 for broadcast.")
      .options(bench_comm_options())
      .options({kHelpItself})
      .keys("parallel");
}

void scale(HelpText& help) {
  help.command(
          "mumoe scale STUDY.json --out FOLDER [--runner mpirun|slurm] "
          "[--retry yes|no] [--dry-run yes|no] [--json FILE]")
      .paragraph(
          "mumoe scale: measures a scaling study, models x layouts x (weak, "
          "strong) x repeats, each a run of its own, and shows a table. The "
          "same command goes on where it was stopped.")
      .options(scale_options())
      .options({kHelpItself})
      .paragraph(
          "STUDY.json: an object with models {name: {key of a run: value}} and "
          "a list of layouts, {dp, tp, plan, zero, micro_batch, recompute, "
          "models}, "
          "each "
          "a value or a list of values. Besides: name, config FILE, settings "
          "{key: value} of all cells, scaling [strong, weak] (weak: "
          "train.batch "
          "is that of one rank), steps that are measured [10] after the first "
          "skip [2], repeats [3], minutes that a run may take [30], exposed "
          "[true]: whether a short run more of each cell tells what it waits "
          "for.")
      .paragraph(
          "With budgets [tokens, ...] (images) it is a loss study: models x "
          "budgets x seeds, trained to their ends. Of each model and seed one "
          "stable run (schedule.kind = wsd) is made, from which each budget "
          "branches for its own decay; it ends with a table, and laws of the "
          "losses. Besides models, name, config, settings and minutes: layout "
          "{dp, tp, ...} of all runs, seeds [1], decay, the share of a "
          "budget's steps in which the rate comes down [0.2], branch [true]: "
          "false gives each budget a run of its own, with a cosine; draws "
          "[200] of the bootstrap that makes intervals, and draw_seed [1].");
}

void study(HelpText& help) {
  help.command(
          "launch/mpirun -n RANKS mumoe study NAME --run FOLDER [--data "
          "SOURCE] [--json FILE] ...")
      .paragraph(
          "mumoe study: what the experts of a run learnt. Alone or on several "
          "ranks, of any dp x tp: the figures are those of one.");
  for (const Study& one : studies()) {
    help.paragraph(one.help).options(one.options());
  }
  help.options({kHelpItself}).keys("parallel");
}

void report(HelpText& help) {
  help.command(
          "mumoe report RUN ... [--out FOLDER] [--json FILE] "
          "[--tensorboard FOLDER]")
      .paragraph(
          "mumoe report: what run directories say of their runs, finished or "
          "not: losses by step, by what was trained on and by time, rates, "
          "gradient norm, learning rate, MFU and speed of light, how gates "
          "used their experts (log.experts), bad steps, failed saves and "
          "resumes, layout and provenance. A table, one self-contained page, "
          "and its charts as SVG and PNG. Several runs are compared.")
      .options(report_options())
      .options({kHelpItself});
}

const std::map<std::string, void (*)(HelpText&)>& pages() {
  static const std::map<std::string, void (*)(HelpText&)> table = {
      {"", overview},
      {"help", overview},
      {"train", train},
      {"sample", sample},
      {"eval", eval},
      {"data", data},
      {"convert", convert},
      {"inspect", inspect},
      {"predict-check", predict_check},
      {"plan", plan},
      {"simulate", simulate},
      {"bench", bench},
      {"scale", scale},
      {"study", study},
      {"report", report},
  };
  return table;
}

}  // namespace

ExitCode help_command(const Invocation& invocation) {
  const std::string topic =
      invocation.arguments.empty() ? "" : invocation.arguments.front();
  if (topic == "--version") {
    std::printf("mumoe %s (%s)\n", run::kVersion, run::kGitRevision);
    return ExitCode::done;
  }
  const auto page = pages().find(topic);
  require(page != pages().end(),
          "mumoe help {}: no such subcommand; mumoe help lists them",
          topic);
  HelpText help(terminal_columns());
  page->second(help);
  std::fputs(help.text().c_str(), stdout);
  return ExitCode::done;
}

}  // namespace mumoe::launch
