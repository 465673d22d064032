#include "data/text/prepare.h"

#include <fmt/format.h>
#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/text/dataset_json.h"
#include "data/text/encode.h"
#include "data/text/forms.h"
#include "data/text/sources.h"
#include "data/text/split.h"
#include "data/text/token_file.h"
#include "data/text/token_folder.h"
#include "data/waiting.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// A mean over fewer is more chance than measure.
constexpr std::uint64_t kFewTokens = 1000;

void check_length(const Split& split) {
  for (const Shard& shard : split.shards) {
    const TokenFile file(split.path.parent_path() / shard.file);
    require(file.size() == shard.tokens,
            "{}: {} tokens; expected the {} that dataset.json counts",
            printable(file.path().string()),
            file.size(),
            shard.tokens);
  }
}

/// Whether the files are those that were written.
bool intact(const Split& split) {
  return std::ranges::all_of(split.shards, [&](const Shard& shard) {
    return TokenFile(split.path.parent_path() / shard.file).hash() ==
           shard.hash;
  });
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
        made.vocabulary == tokenizer.vocabulary() && intact(made.train) &&
        intact(made.val)) {
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

/// The name of a source that is a path or a name.
std::string folder_name(const std::string& source) {
  std::error_code error;
  const fs::path whole = fs::absolute(source, error).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path())
      .filename()
      .string();
}

fs::path default_folder(const std::string& source,
                        const Corpus& corpus,
                        const std::string& fingerprint,
                        const Tokenizer& tokenizer) {
  // Folders of one name may hold different texts.
  const std::string which =
      is_named_source(source) ? "" : "-" + fingerprint.substr(0, 8);
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

Split finish(ShardWriter& writer,
             const SplitCounts& counts,
             const fs::path& folder) {
  writer.finish();
  Split split{.path = folder / writer.shards().front().file,
              .documents = counts.documents,
              .bytes = counts.bytes,
              .hash = hash_of(writer.shards()),
              .shards = writer.shards()};
  for (const Shard& shard : split.shards) split.tokens += shard.tokens;
  return split;
}

/// What there is to encode, and how.
struct Job {
  const Corpus& corpus;
  const Survey& survey;
  const SplitPlan& plan;
  const Tokenizer& tokenizer;
  const PrepareOptions& options;
};

/// Writes the token files of `data.folder`, going on where a preparation that
/// was interrupted left off.
void encode_into(PreparedData& data, const Job& job) {
  const std::uint64_t limit = job.options.shard_tokens;
  Progress progress = read_progress(data, limit);
  const auto keep = [&](const ShardWriter& train, const ShardWriter& val) {
    progress.train = train.shards();
    progress.val = val.shards();
    write_unfinished(data, progress);
  };
  // Who reads a new folder meanwhile waits; an old one is good till the first
  // file is written.
  if (!is_there(data.folder / "dataset.json")) write_unfinished(data, progress);
  std::optional<ShardWriter> train, val;
  const auto on_shard = [&] { keep(*train, *val); };
  train.emplace(data.folder, "train", limit, progress.train, on_shard);
  val.emplace(data.folder, "val", limit, progress.val, on_shard);
  const auto counts = encode_corpus(job.corpus,
                                    job.survey,
                                    job.plan,
                                    job.tokenizer,
                                    job.options.threads,
                                    *train,
                                    *val);
  keep(*train, *val);
  data.train = finish(*train, counts.train, data.folder);
  data.val = finish(*val, counts.val, data.folder);
  write_dataset_json(data);
  remove_other_files(data);
}

/// Makes the token files of `data.folder`, alone, unless another has meanwhile.
PreparedData make(PreparedData data, const Job& job) {
  const fs::path& folder = data.folder;
  const bool chosen_folder = !job.options.out_folder.empty();
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
  if (auto made = reusable(data, job.tokenizer)) return *made;
  if (chosen_folder) require_own_folder(folder, data);
  encode_into(data, job);
  return data;
}

PreparedData prepare_corpus(const std::string& source,
                            const Corpus& corpus,
                            const Tokenizer& tokenizer,
                            const PrepareOptions& options) {
  const Survey survey = corpus.survey(options.threads);
  const SplitPlan plan = plan_split(corpus, survey.sizes, survey.counts);
  PreparedData data;
  data.source = source;
  data.fingerprint = fingerprint_of(survey, plan);
  data.tokenizer = tokenizer.name();
  data.vocabulary = tokenizer.vocabulary();
  data.folder =
      options.out_folder.empty()
          ? default_folder(source, corpus, data.fingerprint, tokenizer)
          : options.out_folder;
  for (const std::string& note : {corpus.skipped, plan.note}) {
    if (!note.empty()) data.notes.push_back(note);
  }
  data.notes.insert(data.notes.end(), survey.notes.begin(), survey.notes.end());
  if (auto made = reusable(data, tokenizer)) return *made;
  return make(data, {corpus, survey, plan, tokenizer, options});
}

}  // namespace

std::vector<fs::path> Split::files() const {
  std::vector<fs::path> paths;
  for (const Shard& shard : shards) {
    paths.push_back(path.parent_path() / shard.file);
  }
  if (paths.empty()) paths.push_back(path);
  return paths;
}

std::vector<TokenFile> Split::open() const {
  std::vector<TokenFile> opened;
  for (const fs::path& file : files()) opened.emplace_back(file);
  return opened;
}

PreparedData prepare(const std::string& source,
                     const Tokenizer& tokenizer,
                     const fs::path& out_folder) {
  PrepareOptions options;
  options.out_folder = out_folder;
  return prepare(source, tokenizer, options);
}

PreparedData prepare(const std::string& source,
                     const Tokenizer& tokenizer,
                     const PrepareOptions& options) {
  require(options.shard_tokens > 0 &&
              options.shard_tokens < (std::uint64_t{1} << 31),
          "shards of {} tokens; expected 1 to 2^31 - 1",
          options.shard_tokens);
  const fs::path& out_folder = options.out_folder;
  const bool named = is_named_source(source);
  std::error_code error;
  require(named || fs::is_directory(source, error),
          "data source {}: expected {}, a folder of .txt or .jsonl files, or a "
          "folder with train.bin and val.bin{}",
          printable(source),
          source_names(),
          nearest_source(source));
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
    Corpus corpus = named ? named_corpus(source) : read_corpus(source);
    if (!named) corpus.field = options.field;
    data = prepare_corpus(source, corpus, tokenizer, options);
  }
  note_small_splits(data);
  return data;
}

std::vector<PreparedSource> prepare_sources(const std::string& sources,
                                            const Tokenizer& tokenizer,
                                            const PrepareOptions& options) {
  const auto parts = parse_sources(sources);
  std::vector<PreparedSource> prepared;
  std::set<std::string> folders;
  for (const WeightedSource& part : parts) {
    PrepareOptions own = options;
    if (parts.size() > 1 && !options.out_folder.empty()) {
      const std::string name = folder_name(part.source);
      require(folders.insert(name).second,
              "{}: two sources are called {}; expected names of their own, or "
              "no folder to write to",
              printable(options.out_folder.string()),
              printable(name));
      own.out_folder = options.out_folder / name;
    }
    prepared.push_back({part.weight, prepare(part.source, tokenizer, own)});
  }
  return prepared;
}

PreparedData open_prepared(const fs::path& folder) {
  PreparedData data = read_dataset_json(folder);
  check_length(data.train);
  check_length(data.val);
  return data;
}

}  // namespace mumoe::data
