#include <cstdio>

#include "launch/commands.h"
#include "run/command_line.h"
#include "run/options.h"
#include "run/version.h"

namespace mumoe::launch {
namespace {

constexpr const char* kOverview =
    R"(mumoe trains models whose MLPs are multilinear mixtures of experts.

  mpirun -n RANKS mumoe train [--config FILE] [--section.key value] ...
  mumoe sample --run FOLDER [--prompt TEXT] [--tokens N] [--temperature X]
               [--top-k N] [--seed N]
  mumoe data [--config FILE] [--data.source S] [--data.tokenizer T] [--out F]
  mumoe bench layer [--case NAME] [--precision fp32|bf16] [--rounds N]
  mpirun -n RANKS mumoe bench comm [--ops A,B] [--axes A,B] [--sizes R] ...
  mumoe help [train | sample | data | bench]
  mumoe --version

Exit codes: 0 done, 1 internal error, 2 bad input, 3 preempted (stopped by a
signal; what was saved is in train.out), 4 loss or gradient not finite, 5 communication failure.
)";

constexpr const char* kTrain =
    R"(mumoe train: trains a model and writes a run directory (train.out) with
config.cfg, metrics.jsonl, provenance.json and checkpoints/. The same command
with --train.resume goes on from the newest checkpoint. --print-config shows
every value and where it came from, and stops.

FILE has lines `[section]`, `key = value` and `# comment`. A value with ` #`, or
with blanks at its ends, stands in quotes: source = "/data/set #2".

)";

constexpr const char* kSample =
    R"(mumoe sample: continues a text with the model of a run directory.

  --run FOLDER        a run directory
  --prompt TEXT       what the text begins with [the start of a document]
  --tokens N          tokens to add [256]
  --temperature X     0 takes the most likely token each time [0.8]
  --top-k N           draw from the N most likely tokens; 0: all [50]
  --seed N            of the draws, 0 to 2^64 - 1 [0]
)";

constexpr const char* kData =
    R"(mumoe data: fetches and prepares a corpus, and says where it lies.

  --data.source S     speeches, a folder of .txt files, or a prepared folder
  --data.tokenizer T  bytes or gpt2
  --out FOLDER        where to write train.bin and val.bin [the user's cache]
)";

constexpr const char* kBench =
    R"(mumoe bench layer: times μMoE blocks and the dense MLPs they replace, forward
and backward, on 4096 tokens, and counts the bytes held for backward.

  --case NAME         one of: dense-gpt2 cp-gpt2 tr-gpt2 tt-gpt2 tucker-gpt2
                      dense-mixer cp-mixer tr-mixer entmax15 [all]
  --precision P       fp32 or bf16 [both, where bf16 is native]
  --rounds N          timed passes, of which the median is taken [7]
  --serve             answers lines `CASE PRECISION [recompute]` of stdin with
                      one pass each, as JSON; launch/bench uses it

mumoe bench comm: times collectives and checks their results, with the columns
of nccl-tests: algbw = size / time, busbw = algbw times 2(n-1)/n for all_reduce,
(n-1)/n for all_gather, reduce_scatter and all_to_all, 1 for broadcast.

  --ops A,B           of all_reduce all_gather reduce_scatter all_to_all
                      broadcast [all]
  --axes A,B          of dp tp all [those with several ranks]
  --sizes R           min:max:factor in bytes, K M G are 2^10 2^20 2^30
                      [1K:16M:4]
  --type T            fp32, bf16, fp64 or int64 [fp32]
  --redop R           sum, min or max [sum]
  --rounds N          timed rounds, of which the median is taken [7]
  --parallel.tp N     and every other key of the section [parallel]
)";

}  // namespace

ExitCode help_command(const Invocation& invocation) {
  const std::string topic =
      invocation.arguments.empty() ? "" : invocation.arguments.front();
  if (topic == "--version") {
    std::printf("mumoe %s (%s)\n", run::kVersion, run::kGitRevision);
  } else if (topic == "train") {
    std::printf("%s%s", kTrain, run::describe_keys().c_str());
  } else if (topic == "bench") {
    std::printf("%s", kBench);
  } else if (topic == "sample") {
    std::fputs(kSample, stdout);
  } else if (topic == "data") {
    std::fputs(kData, stdout);
  } else {
    require(topic.empty() || topic == "--help" || topic == "help",
            "mumoe help {}: no such subcommand",
            topic);
    std::fputs(kOverview, stdout);
  }
  return ExitCode::done;
}

}  // namespace mumoe::launch
