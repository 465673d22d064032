#include "data/text/prepare.h"

#include <fmt/format.h>
#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/text/dataset_json.h"
#include "data/text/forms.h"
#include "data/text/split.h"
#include "data/text/token_file.h"
#include "data/text/token_folder.h"
#include "data/waiting.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// A mean over fewer is more chance than measure.
constexpr std::uint64_t kFewTokens = 1000;

/// A split being built in memory.
struct Builder {
  std::vector<std::uint16_t> tokens;
  std::uint64_t documents = 0;
  std::uint64_t bytes = 0;

  void add(const std::string& name,
           std::string_view text,
           const Tokenizer& tokenizer) {
    try {
      const auto ids = tokenizer.encode(text);
      tokens.insert(tokens.end(), ids.begin(), ids.end());
    } catch (const InputError& error) {
      fail<InputError>("{}: {}", printable(name), error.what());
    }
    tokens.push_back(static_cast<std::uint16_t>(tokenizer.end_of_document()));
    ++documents;
    bytes += text.size();
  }

  Split write(const fs::path& path) const {
    write_token_file(path, tokens);
    return {path, tokens.size(), documents, bytes, TokenFile(path).hash()};
  }
};

void build(const Corpus& corpus,
           const SplitPlan& plan,
           const Tokenizer& tokenizer,
           Builder& train,
           Builder& val) {
  for (std::size_t i = 0; i < corpus.documents.size(); ++i) {
    const std::string name = corpus.documents[i].path.string();
    const std::string text = read_file(corpus.documents[i].path);
    if (plan.cut && plan.cut->document == i) {
      const std::string_view whole(text);
      const std::size_t cut = cut_near(text, plan.cut->at, plan.cut->tolerance);
      train.add(name, whole.substr(0, cut), tokenizer);
      val.add(name, whole.substr(cut), tokenizer);
    } else {
      (plan.validation[i] ? val : train).add(name, text, tokenizer);
    }
  }
}

void check_length(const Split& split) {
  const TokenFile file(split.path);
  require(file.size() == split.tokens,
          "{}: {} tokens; expected the {} that dataset.json counts",
          split.path.string(),
          file.size(),
          split.tokens);
}

/// `wanted` with its token files if its folder was made of this corpus in this
/// encoding and is intact; nothing if it has to be made anew.
std::optional<PreparedData> reusable(const PreparedData& wanted,
                                     const Tokenizer& tokenizer) {
  if (!is_there(wanted.folder / "dataset.json")) return std::nullopt;
  try {
    const PreparedData made = open_prepared(wanted.folder);
    if (made.fingerprint == wanted.fingerprint &&
        made.tokenizer == tokenizer.name() &&
        made.vocabulary == tokenizer.vocabulary() &&
        TokenFile(made.train.path).hash() == made.train.hash &&
        TokenFile(made.val.path).hash() == made.val.hash) {
      PreparedData data = wanted;
      data.train = made.train;
      data.val = made.val;
      return data;
    }
  } catch (const InputError&) {
    // Damaged: made anew.
  }
  return std::nullopt;
}

fs::path default_folder(const std::string& source,
                        const Corpus& corpus,
                        const std::string& fingerprint,
                        const Tokenizer& tokenizer) {
  // Folders of one name may hold different texts.
  const std::string which =
      source == "speeches" ? "" : "-" + fingerprint.substr(0, 8);
  return cache_folder() / "prepared" /
         fmt::format("{}{}-{}", corpus.name, which, tokenizer.name());
}

/// Whether two paths name one folder; false when one is not there.
bool same_folder(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored);
}

/// The fingerprint of a corpus and its split. How a split that is not by whole
/// documents is made has changed: the number changes when it does again.
std::string fingerprint_of(const Survey& survey, const SplitPlan& plan) {
  return plan.every_tenth ? survey.fingerprint
                          : hash_hex(survey.fingerprint + " split 2\n");
}

void note_small_splits(PreparedData& data) {
  for (const Split* split : {&data.train, &data.val}) {
    if (split->tokens >= kFewTokens) continue;
    data.notes.push_back(fmt::format(
        "only {}{}: a loss on fewer than {} says little",
        split->tokens,
        split == &data.val ? " validation tokens" : " training tokens",
        kFewTokens));
  }
}

/// Makes the token files of `data.folder`, alone, unless another has meanwhile.
PreparedData make(PreparedData data,
                  const Corpus& corpus,
                  const SplitPlan& plan,
                  const Tokenizer& tokenizer,
                  bool chosen_folder) {
  const fs::path& folder = data.folder;
  if (chosen_folder) require_own_folder(folder, data);
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error,
          "{}: cannot create: {}",
          printable(folder.string()),
          error.message());
  const FileLock lock =
      wait_aloud(folder / kLockFile, "prepares " + printable(folder.string()));
  if (!lock.excludes()) {
    data.notes.push_back(printable(folder.string()) +
                         ": its file system has no locks; two processes that "
                         "prepare it both do the work");
  }
  if (auto made = reusable(data, tokenizer)) return *made;
  if (chosen_folder) require_own_folder(folder, data);
  // Who reads a new folder meanwhile waits; an old one is good till the end.
  if (!is_there(folder / "dataset.json")) write_unfinished(data);
  Builder train, val;
  build(corpus, plan, tokenizer, train, val);
  write_unfinished(data);
  data.train = train.write(folder / "train.bin");
  data.val = val.write(folder / "val.bin");
  write_dataset_json(data);
  return data;
}

PreparedData prepare_corpus(const std::string& source,
                            const Corpus& corpus,
                            const Tokenizer& tokenizer,
                            const fs::path& out_folder) {
  const Survey survey = corpus.survey();
  const SplitPlan plan = plan_split(corpus, survey.sizes);
  PreparedData data;
  data.source = source;
  data.fingerprint = fingerprint_of(survey, plan);
  data.tokenizer = tokenizer.name();
  data.vocabulary = tokenizer.vocabulary();
  data.folder =
      out_folder.empty()
          ? default_folder(source, corpus, data.fingerprint, tokenizer)
          : out_folder;
  for (const std::string& note : {corpus.skipped, plan.note}) {
    if (!note.empty()) data.notes.push_back(note);
  }
  data.notes.insert(data.notes.end(), survey.notes.begin(), survey.notes.end());
  if (auto made = reusable(data, tokenizer)) return *made;
  return make(data, corpus, plan, tokenizer, !out_folder.empty());
}

}  // namespace

PreparedData prepare(const std::string& source,
                     const Tokenizer& tokenizer,
                     const fs::path& out_folder) {
  const bool named = source == "speeches";
  std::error_code error;
  require(named || fs::is_directory(source, error),
          "data source {}: expected speeches, a folder of .txt files, or a "
          "folder with train.bin and val.bin",
          printable(source));
  PreparedData data;
  if (!named && holds_token_files(source)) {
    require(out_folder.empty() || same_folder(source, out_folder),
            "data source {}: holds token files, which are used where they are, "
            "and nothing would be written to {}; expected texts, or no folder "
            "to write to",
            printable(source),
            printable(out_folder.string()));
    data = use_token_folder(source, tokenizer);
  } else {
    require(named || out_folder.empty() || !same_folder(source, out_folder),
            "{}: holds the texts; expected another folder to write to",
            printable(out_folder.string()));
    const Corpus corpus = named ? speeches() : read_corpus(source);
    data = prepare_corpus(source, corpus, tokenizer, out_folder);
  }
  note_small_splits(data);
  return data;
}

PreparedData open_prepared(const fs::path& folder) {
  PreparedData data = read_dataset_json(folder);
  check_length(data.train);
  check_length(data.val);
  return data;
}

}  // namespace mumoe::data
