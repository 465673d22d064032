#include "data/text/token_folder.h"

#include <fmt/format.h>
#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "base/error.h"
#include "data/text/dataset_json.h"
#include "data/text/folder_walk.h"
#include "data/text/forms.h"
#include "data/text/token_file.h"
#include "data/waiting.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// Fewer tokens are no evidence of a vocabulary.
constexpr std::uint64_t kEvidence = 1000;

/// The token files of `split` in a folder without dataset.json, by their names:
/// train.bin, else shards that are called so by mumoe or llm.c, with one name
/// in front of all (fineweb_train_000001.bin), in order.
std::vector<std::string> files_of(const fs::path& folder,
                                  const std::string& split) {
  if (is_there(folder / (split + ".bin"))) return {split + ".bin"};
  std::map<std::string, std::vector<std::string>> by_front;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const auto at = name.rfind(split + '_');
    if (at == std::string::npos || (at > 0 && name[at - 1] != '_')) continue;
    if (!is_shard_name(name.substr(at), split)) continue;
    by_front[name.substr(0, at)].push_back(name);
  }
  if (by_front.empty()) return {};
  require(by_front.size() == 1,
          "{}: holds shards of several sets ({}, {}); expected those of one",
          printable(folder.string()),
          printable(by_front.begin()->second.front()),
          printable(by_front.rbegin()->second.front()));
  auto& names = by_front.begin()->second;
  std::ranges::sort(names);
  return names;
}

/// Refuses ids that are in the vocabulary, but cannot be of this tokenizer.
/// `counts` says how often each token is there.
void check_vocabulary_used(const TokenFile& file,
                           const std::vector<std::uint64_t>& counts,
                           const Tokenizer& tokenizer) {
  if (file.size() < kEvidence) return;
  std::size_t highest = counts.size() - 1;
  while (counts[highest] == 0) --highest;
  const std::string name = printable(file.path().string());
  // GPT-2's first 256 tokens are single bytes; a text is spelt by others.
  require(tokenizer.name() != "gpt2" || highest >= 256,
          "{}: all of its {} tokens are below {}: bytes or characters; "
          "expected tokens of gpt2, up to {}",
          name,
          file.size(),
          highest + 1,
          tokenizer.vocabulary() - 1);
  if (tokenizer.name() != "bytes") return;
  std::uint64_t control = 0;
  for (std::size_t byte = 1; byte < 32; ++byte) {
    if (byte != '\n' && byte != '\r' && byte != '\t') control += counts[byte];
  }
  require(control * 2 < file.size(),
          "{}: {} of its {} tokens are control characters: ids of a vocabulary "
          "of its own; expected the bytes of texts",
          name,
          control,
          file.size());
}

/// A split of token files that come without dataset.json.
Split inspect(const fs::path& folder,
              const std::string& name,
              const Tokenizer& tokenizer) {
  std::vector<std::string> names = files_of(folder, name);
  // Said to be missing when it is opened.
  if (names.empty()) names = {name + ".bin"};
  Split split;
  split.path = folder / names.front();
  std::vector<std::uint64_t> counts(tokenizer.vocabulary());
  for (const std::string& shard : names) {
    const TokenFile file(folder / shard);
    file.check_vocabulary(tokenizer.vocabulary());
    std::vector<std::uint64_t> here(tokenizer.vocabulary());
    for (const std::uint16_t token : file.tokens()) ++here[token];
    check_vocabulary_used(file, here, tokenizer);
    std::ranges::transform(counts, here, counts.begin(), std::plus{});
    split.shards.push_back({shard, file.size(), file.hash(), {}});
    split.tokens += file.size();
  }
  split.hash = hash_of(split.shards);
  const std::int32_t end = tokenizer.end_of_document();
  split.documents = counts[end];
  for (std::int32_t id = 0; id < tokenizer.vocabulary(); ++id) {
    if (id == end || counts[id] == 0) continue;
    split.bytes += counts[id] * tokenizer.decode({&id, 1}).size();
  }
  return split;
}

PreparedData inspect_folder(const fs::path& folder,
                            const Tokenizer& tokenizer) {
  require(!is_there(folder / "meta.pkl"),
          "{}: the tokens beside it are of a vocabulary of their own, as those "
          "of nanoGPT's character-level data; expected tokens of {}: give the "
          "texts themselves, a folder of .txt files",
          printable((folder / "meta.pkl").string()),
          tokenizer.name());
  PreparedData data;
  data.folder = folder;
  data.source = folder.string();
  data.tokenizer = tokenizer.name();
  data.vocabulary = tokenizer.vocabulary();
  data.train = inspect(folder, "train", tokenizer);
  data.val = inspect(folder, "val", tokenizer);
  return data;
}

/// Throws where token files do not belong into `folder`: it holds texts, beside
/// which they would be refused, or a run.
void require_nothing_else(const fs::path& folder) {
  if (!is_there(folder)) return;
  const std::string name = printable(folder.string());
  for (const char* file : {"checkpoints", "provenance.json"}) {
    require(!is_there(folder / file),
            "{}: holds a run ({}); expected another folder to write to",
            name,
            file);
  }
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    require(!is_named(entry->path()),
            "{}: holds texts ({}), beside which token files are not used; "
            "expected another folder to write to",
            name,
            printable(entry->path().filename().string()));
  }
}

/// What dataset.json says, once whoever prepares the folder has finished.
PreparedData open_finished(const fs::path& folder) {
  try {
    return open_prepared(folder);
  } catch (const Unfinished&) {
    // By somebody else, if that still runs.
  }
  try {
    wait_aloud(folder / kLockFile, "prepares " + printable(folder.string()));
  } catch (const InputError&) {
    // Not ours to write.
  }
  return open_prepared(folder);
}

PreparedData open_described(const fs::path& folder,
                            const Tokenizer& tokenizer) {
  PreparedData data = open_finished(folder);
  require(data.tokenizer == tokenizer.name() &&
              data.vocabulary == tokenizer.vocabulary(),
          "{}: encoded with the tokenizer {}; expected {}",
          printable(folder.string()),
          data.tokenizer,
          tokenizer.name());
  for (const Split* split : {&data.train, &data.val}) {
    for (const Shard& shard : split->shards) {
      const TokenFile file(folder / shard.file);
      file.check_vocabulary(data.vocabulary);
      require(file.hash() == shard.hash,
              "{}: is not the file that dataset.json beside it describes (hash "
              "{}, expected {})",
              printable(file.path().string()),
              file.hash(),
              shard.hash);
    }
  }
  return data;
}

/// Texts beside token files that were prepared here are refused, since they
/// would not be read: somebody has added them. Where the token files are of
/// another program (nanoGPT's stand beside their input.txt), and for those in
/// folders below, a line tells.
std::string check_texts(const fs::path& folder) {
  std::vector<fs::path> texts = find_texts(folder).paths;
  if (texts.empty()) return {};
  std::ranges::sort(texts);
  const auto beside = std::ranges::find_if(texts, [&](const fs::path& path) {
    return !path.lexically_relative(folder).has_parent_path();
  });
  require(
      beside == texts.end() || !is_there(folder / "dataset.json"),
      "{}: holds token files and also texts, which would not be read ({}{}); "
      "expected one or the other: move the texts to a folder of their own and "
      "prepare that, or remove the token files",
      printable(folder.string()),
      beside == texts.end() ? "" : printable(beside->filename().string()),
      texts.size() > 1 ? fmt::format(" and {} more", texts.size() - 1) : "");
  return fmt::format("{}{}{} the token files, not read ({}{})",
                     texts.size(),
                     texts.size() > 1 ? " texts" : " text",
                     beside == texts.end() ? " below" : " beside",
                     printable(texts[0].lexically_relative(folder).string()),
                     texts.size() > 1 ? ", ..." : "");
}

}  // namespace

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

bool holds_token_files(const fs::path& folder) {
  if (is_there(folder / "train.bin") || is_there(folder / "val.bin")) {
    return true;
  }
  if (!files_of(folder, "train").empty()) return true;
  if (!is_there(folder / "dataset.json")) return false;
  try {
    read_dataset_json(folder);
  } catch (const Unfinished&) {
    return true;
  } catch (const InputError&) {
    // Not ours.
  }
  return false;
}

PreparedData use_token_folder(const fs::path& folder,
                              const Tokenizer& tokenizer) {
  const std::string below = check_texts(folder);
  PreparedData data = is_there(folder / "dataset.json")
                          ? open_described(folder, tokenizer)
                          : inspect_folder(folder, tokenizer);
  if (!below.empty()) data.notes.push_back(below);
  return data;
}

void remove_other_files(const PreparedData& data) {
  std::set<std::string> ours;
  for (const Split* split : {&data.train, &data.val}) {
    for (const Shard& shard : split->shards) ours.insert(shard.file);
  }
  std::error_code error;
  std::vector<fs::path> others;
  for (fs::directory_iterator entry(data.folder, error), end;
       !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool token_file =
        is_shard_name(name, "train") || is_shard_name(name, "val");
    if (token_file && !ours.contains(name)) others.push_back(entry->path());
  }
  for (const fs::path& path : others) fs::remove(path, error);
}

void require_own_folder(const fs::path& folder, const PreparedData& wanted) {
  const std::string name = printable(folder.string());
  require(!is_foreign(folder),
          "{}: holds a dataset.json that mumoe data did not write; expected "
          "another folder to write to",
          name);
  // The token files are looked for first: who prepares the folder at this
  // moment writes dataset.json before them.
  const bool holds_tokens = holds_token_files(folder);
  if (!is_there(folder / "dataset.json")) {
    require(!holds_tokens,
            "{}: holds token files that mumoe data did not make; expected "
            "another folder to write to",
            name);
    require_nothing_else(folder);
    return;
  }
  PreparedData held;
  try {
    held = read_dataset_json(folder);
  } catch (const InputError&) {
    return;  // Interrupted or damaged: made anew.
  }
  const bool same_tokenizer = held.tokenizer == wanted.tokenizer;
  if (held.fingerprint == wanted.fingerprint && same_tokenizer) return;
  std::error_code ignored;
  const bool same_source = held.source == as_recorded(wanted.source) ||
                           fs::equivalent(held.source, wanted.source, ignored);
  require(!same_source || !same_tokenizer,
          "{}: holds the token files of {} as {}, prepared from other texts "
          "than are there now, which runs may be reading; expected another "
          "folder, or remove it first",
          name,
          printable(held.source),
          printable(held.tokenizer));
  fail<InputError>(
      "{}: holds the token files of {} as {}, which runs may be reading; "
      "expected another folder for those of {} as {}, or remove it first",
      name,
      printable(held.source),
      printable(held.tokenizer),
      printable(wanted.source),
      wanted.tokenizer);
}

}  // namespace mumoe::data
