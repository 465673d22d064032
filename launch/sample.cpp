#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "data/text/tokenizer.h"
#include "data/text/utf8.h"
#include "dist/params/flat_buckets.h"
#include "dist/self_communicator.h"
#include "launch/commands.h"
#include "launch/plan_choice.h"
#include "launch/settle.h"
#include "model/families.h"
#include "model/generate.h"
#include "run/command_line.h"
#include "run/damage.h"
#include "run/load_checkpoint.h"
#include "run/options.h"
#include "run/run_directory.h"
#include "train/signals.h"

namespace mumoe::launch {
namespace {

model::GenerateConfig read_generation(const run::CommandLine& line) {
  model::GenerateConfig config;
  config.tokens = line.number("tokens", config.tokens, std::int64_t{0});
  config.temperature = line.number("temperature", config.temperature, 0.0);
  config.top_k = line.number("top-k", config.top_k, std::int64_t{0});
  config.top_p = line.number("top-p", config.top_p);
  config.seed = line.number("seed", config.seed);
  config.validate();
  return config;
}

/// Between two texts.
constexpr const char* kSeparator = "---\n";

/// Texts that grow side by side, printed one after the other: each as it grows
/// once those before it have ended, in whole characters.
class Printer {
 public:
  explicit Printer(std::size_t texts) : texts_(texts) {}

  void put(std::size_t text, const std::string& bytes) {
    Text& grown = texts_.at(text);
    grown.ready += grown.characters.take(bytes);
    print();
  }
  void end(std::size_t text) {
    texts_.at(text).ended = true;
    print();
  }
  void end_all() {
    for (Text& text : texts_) text.ended = true;
    print();
  }
  /// Whether somebody still reads.
  bool read() const { return read_; }

 private:
  struct Text {
    data::WholeCharacters characters;
    std::string ready;
    bool ended = false;
  };

  void write(const std::string& text) {
    const auto written = std::fwrite(text.data(), 1, text.size(), stdout);
    read_ = read_ && written == text.size();
  }

  void print() {
    while (current_ < texts_.size()) {
      Text& text = texts_[current_];
      write(std::exchange(text.ready, {}));
      if (!text.ended) break;
      write("\n");
      if (++current_ < texts_.size()) write(kSeparator);
    }
    read_ = std::fflush(stdout) == 0 && read_;
  }

  std::vector<Text> texts_;
  std::size_t current_ = 0;
  bool read_ = true;
};

/// Those of --prompt and, one a line, of --file; one empty one if there are
/// none.
std::vector<std::string> read_prompts(const run::CommandLine& line) {
  std::vector<std::string> prompts = line.texts("prompt");
  const std::filesystem::path file = line.text("file", "");
  if (!file.empty()) {
    const std::string text = read_file(file);
    const std::size_t before = prompts.size();
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      if (end > begin) prompts.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    require(prompts.size() > before,
            "--file {}: no line that is not empty; expected a prompt a line",
            file.string());
  }
  if (prompts.empty()) prompts.emplace_back();
  return prompts;
}

/// What the model begins with: the start of a document, and the prompt.
std::vector<std::int64_t> to_ids(const std::string& prompt,
                                 const data::Tokenizer& tokenizer,
                                 std::int64_t context) {
  std::vector<std::int64_t> ids{tokenizer.end_of_document()};
  for (const auto id : tokenizer.encode(prompt)) ids.push_back(id);
  if (static_cast<std::int64_t>(ids.size()) > context) {
    std::fprintf(
        stderr,
        "mumoe sample: a prompt of %zu tokens: the model sees its last "
        "%lld, its context\n",
        ids.size() - 1,
        static_cast<long long>(context));
  }
  return ids;
}

/// Generates from `prompts` onto stdout until all texts have ended, or a signal
/// comes, or nobody reads.
ExitCode print_texts(const model::LanguageModel& model,
                     const data::Tokenizer& tokenizer,
                     const std::vector<std::string>& prompts,
                     const model::GenerateConfig& config,
                     train::StopSignals& signals) {
  std::vector<std::vector<std::int64_t>> ids;
  for (const std::string& prompt : prompts) {
    ids.push_back(to_ids(prompt, tokenizer, model.context()));
  }
  signals.saving();
  Printer printer(prompts.size());
  for (std::size_t p = 0; p < prompts.size(); ++p) printer.put(p, prompts[p]);
  model::generate(model,
                  std::move(ids),
                  config,
                  [&](std::size_t text, std::int32_t id) {
                    if (signals.requested() || !printer.read()) return false;
                    // The end of a document is where a text ends.
                    if (id == tokenizer.end_of_document()) {
                      printer.end(text);
                      return false;
                    }
                    printer.put(text, tokenizer.decode({&id, 1}));
                    return true;
                  });
  printer.end_all();
  return signals.requested() ? ExitCode::preempted : ExitCode::done;
}

}  // namespace

std::vector<run::OwnOption> sample_options() {
  return {
      {"run", "FOLDER", "a run directory", "out model ckpt out_dir"},
      {"checkpoint",
       "WHICH",
       "best, or the number of a step [the newest]",
       "step which"},
      {"prompt",
       "TEXT",
       "what the text begins with [the start of a document]; several: texts "
       "one after the other, lines of --- between them",
       "start input text",
       /*repeats=*/true},
      {"file", "FILE", "prompts, one a line", "prompts prompt_file"},
      {"tokens",
       "N",
       "tokens to add [256]",
       "max_new_tokens max_tokens n_tokens num_tokens length max_length"},
      {"temperature",
       "X",
       "0 takes the most likely token each time [0.8]",
       "temp t"},
      {"top-k", "N", "draw from the N most likely tokens; 0: all [50]", "k"},
      {"top-p",
       "X",
       "draw from the fewest most likely tokens that together have this "
       "probability [1]",
       "p nucleus"},
      {"seed", "N", "of the draws, 0 to 2^64 - 1 [0]", "random_seed"}};
}

namespace {

/// From the newest checkpoint that is not `known` to be damaged.
ExitCode sample(const Invocation& invocation, const run::Damage& known) {
  const run::CommandLine line =
      run::read_command_line(invocation.arguments, "", sample_options());
  const std::filesystem::path folder = line.text("run", "");
  require(!folder.empty(), "mumoe sample: --run FOLDER is missing");
  model::GenerateConfig config = read_generation(line);
  const std::vector<std::string> prompts = read_prompts(line);
  run::RunOnDisk opened =
      run::open_run(folder, line.text("checkpoint", ""), known);
  const Settled settled = settle_alone(std::move(opened.options));
  if (!settled.note.empty()) {
    std::fprintf(stderr, "mumoe sample: %s\n", settled.note.c_str());
  }
  const Compute& compute = settled.compute;

  const auto self = dist::make_self_communicator(compute.device);
  dist::ParameterRegistry registry(*self,
                                   compute.dtype,
                                   compute.device,
                                   /*decay_all=*/false,
                                   train::row_multiple(compute.device));
  const auto made = model::family(settled.options.family)
                        .make(settled.options.model, registry, {}, nullptr);
  const auto* model = dynamic_cast<const model::LanguageModel*>(made.get());
  require(model != nullptr,
          "{}: model.family = {} writes no text; expected one that does",
          folder.string(),
          settled.options.family);
  dist::FlatBuckets buckets(registry, train::kBucketBytes);
  const run::Loaded loaded = run::load_weights(opened.checkpoint, buckets);
  // Not before it is read: that it is taken may be wrong.
  for (const auto& lines : {opened.notes, loaded.rebuilt}) {
    for (const auto& line : lines) {
      std::fprintf(stderr, "mumoe sample: %s\n", line.c_str());
    }
  }

  const auto tokenizer = data::make_tokenizer(settled.options.tokenizer);
  config.vocabulary = tokenizer->vocabulary();

  MUMOE_CHECK(invocation.signals);
  return print_texts(*model, *tokenizer, prompts, config, *invocation.signals);
}

}  // namespace

ExitCode sample_command(const Invocation& invocation) {
  return run::past_damage(
      [&](const run::Damage& known) { return sample(invocation, known); });
}

}  // namespace mumoe::launch
