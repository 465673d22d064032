#include "data/prepare.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/dataset_json.h"
#include "data/token_file.h"
#include "data/words.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// Whether there is such a file or folder; a path that cannot be looked at has
/// none.
bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

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
      fail<InputError>(name, ": ", error.what());
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

/// Where the last tenth of `text` begins: after the line, else the character,
/// that holds the cut.
std::size_t last_tenth(const fs::path& path, std::string_view text) {
  std::size_t cut = text.size() - text.size() / 10;
  const auto line = text.find('\n', cut);
  if (line != std::string_view::npos && line + 1 < text.size()) return line + 1;
  while (cut < text.size() && (text[cut] & 0xC0) == 0x80) ++cut;
  require(cut < text.size(),
          path.string(),
          ": the only text, of ",
          text.size(),
          " bytes; expected several, or one long enough to cut in ten");
  return cut;
}

void build(const Corpus& corpus,
           const Tokenizer& tokenizer,
           Builder& train,
           Builder& val) {
  if (corpus.documents.size() == 1) {
    const Document& only = corpus.documents.front();
    const std::string text = read_file(only.path);
    const std::size_t cut = last_tenth(only.path, text);
    const std::string_view whole(text);
    train.add(only.path.string(), whole.substr(0, cut), tokenizer);
    val.add(only.path.string(), whole.substr(cut), tokenizer);
    return;
  }
  for (std::size_t i = 0; i < corpus.documents.size(); ++i) {
    const fs::path& path = corpus.documents[i].path;
    Builder& split = i % 10 == 0 ? val : train;
    split.add(path.string(), read_file(path), tokenizer);
  }
}

void check_length(const Split& split) {
  const TokenFile file(split.path);
  require(file.size() == split.tokens,
          split.path.string(),
          ": ",
          file.size(),
          " tokens; expected the ",
          split.tokens,
          " that dataset.json counts");
}

/// What `folder` holds if it was made of this corpus in this encoding and is
/// intact; nothing if it has to be made anew.
std::optional<PreparedData> reusable(const fs::path& folder,
                                     const std::string& fingerprint,
                                     const Tokenizer& tokenizer) {
  if (!is_there(folder / "dataset.json")) return std::nullopt;
  try {
    PreparedData data = open_prepared(folder);
    if (data.fingerprint == fingerprint && data.tokenizer == tokenizer.name() &&
        data.vocabulary == tokenizer.vocabulary() &&
        TokenFile(data.train.path).hash() == data.train.hash &&
        TokenFile(data.val.path).hash() == data.val.hash) {
      return data;
    }
  } catch (const InputError&) {
    // Damaged: made anew.
  }
  return std::nullopt;
}

/// A split of token files that come without dataset.json.
Split inspect(const fs::path& path, const Tokenizer& tokenizer) {
  const TokenFile file(path);
  file.check_vocabulary(tokenizer.vocabulary());
  std::vector<std::uint64_t> bytes_of_id(tokenizer.vocabulary());
  for (std::int32_t id = 0; id < tokenizer.vocabulary(); ++id) {
    bytes_of_id[id] = tokenizer.decode({&id, 1}).size();
  }
  const auto end = static_cast<std::uint16_t>(tokenizer.end_of_document());
  bytes_of_id[end] = 0;
  Split split{path, file.size(), 0, 0, file.hash()};
  for (const std::uint16_t token : file.tokens()) {
    split.bytes += bytes_of_id[token];
    split.documents += token == end;
  }
  return split;
}

PreparedData use_as_it_is(const fs::path& folder, const Tokenizer& tokenizer) {
  if (!is_there(folder / "dataset.json")) {
    PreparedData data;
    data.folder = folder;
    data.source = folder.string();
    data.tokenizer = tokenizer.name();
    data.vocabulary = tokenizer.vocabulary();
    data.train = inspect(folder / "train.bin", tokenizer);
    data.val = inspect(folder / "val.bin", tokenizer);
    return data;
  }
  PreparedData data = open_prepared(folder);
  require(data.tokenizer == tokenizer.name() &&
              data.vocabulary == tokenizer.vocabulary(),
          folder.string(),
          ": encoded with the tokenizer ",
          data.tokenizer,
          "; expected ",
          tokenizer.name());
  for (const Split* split : {&data.train, &data.val}) {
    const TokenFile file(split->path);
    file.check_vocabulary(data.vocabulary);
    require(file.hash() == split->hash,
            split->path.string(),
            ": is not the file that dataset.json beside it describes (hash ",
            file.hash(),
            ", expected ",
            split->hash,
            ")");
  }
  return data;
}

fs::path default_folder(const std::string& source,
                        const Corpus& corpus,
                        const std::string& fingerprint,
                        const Tokenizer& tokenizer) {
  // Folders of one name may hold different texts.
  const std::string which =
      source == "speeches" ? "" : "-" + fingerprint.substr(0, 8);
  return cache_folder() / "prepared" /
         concat(corpus.name, which, "-", tokenizer.name());
}

}  // namespace

PreparedData prepare(const std::string& source,
                     const Tokenizer& tokenizer,
                     const fs::path& out_folder) {
  const bool named = source == "speeches";
  std::error_code error;
  require(named || fs::is_directory(source, error),
          "data source ",
          source,
          ": expected speeches, a folder of .txt files, or a folder with "
          "train.bin and val.bin");
  if (!named && (is_there(fs::path(source) / "train.bin") ||
                 is_there(fs::path(source) / "val.bin"))) {
    return use_as_it_is(source, tokenizer);
  }
  const Corpus corpus = named ? speeches() : read_corpus(source);
  const std::string fingerprint = corpus.fingerprint();
  const fs::path folder =
      out_folder.empty()
          ? default_folder(source, corpus, fingerprint, tokenizer)
          : out_folder;
  if (auto made = reusable(folder, fingerprint, tokenizer)) return *made;

  Builder train, val;
  build(corpus, tokenizer, train, val);
  fs::create_directories(folder, error);
  require(!error, folder.string(), ": cannot create: ", error.message());
  // Until the new dataset.json is there, the folder counts as not made.
  fs::remove(folder / "dataset.json", error);
  PreparedData data;
  data.folder = folder;
  data.source = source;
  data.fingerprint = fingerprint;
  data.tokenizer = tokenizer.name();
  data.vocabulary = tokenizer.vocabulary();
  data.train = train.write(folder / "train.bin");
  data.val = val.write(folder / "val.bin");
  write_dataset_json(data);
  return data;
}

PreparedData open_prepared(const fs::path& folder) {
  PreparedData data = read_dataset_json(folder);
  check_length(data.train);
  check_length(data.val);
  return data;
}

}  // namespace mumoe::data
