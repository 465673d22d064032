#include "data/text/bpe.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/text/word_cache.h"

namespace mumoe::data {
namespace {

constexpr std::string_view kEndOfDocument = "<|endoftext|>";

/// The files spell each byte as a printable character: bytes that are printable
/// in Latin-1 as themselves, the other 68 as U+0100, U+0101, ... in order.
std::array<std::string, 256> spell_bytes() {
  std::array<std::string, 256> spelling;
  unsigned next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) ||
                           (byte >= 161 && byte <= 172) || byte >= 174;
    const unsigned code = printable ? byte : next++;
    if (code < 0x80) {
      spelling[byte] = {static_cast<char>(code)};
    } else {
      spelling[byte] = {static_cast<char>(0xC0 | code >> 6),
                        static_cast<char>(0x80 | (code & 0x3F))};
    }
  }
  return spelling;
}

}  // namespace

/// What one call of `encode` at a time works with.
struct BpeTokenizer::Workspace {
  explicit Workspace(const MergeTable& merges) : merger(merges) {}
  WordCache cache;
  Merger merger;
};

BpeTokenizer::~BpeTokenizer() = default;

BpeTokenizer::BpeTokenizer(const std::filesystem::path& folder) {
  const auto ids = read_ids(folder / "encoder.json");
  read_merges(folder / "vocab.bpe", ids);
}

BpeTokenizer::TextMap<std::uint16_t> BpeTokenizer::read_ids(
    const std::filesystem::path& path) {
  const auto json = nlohmann::json::parse(read_file(path), nullptr, false);
  require(json.is_object() && json.size() <= 65536,
          "{}: expected one JSON object of at most 65536 tokens with their ids",
          path.string());
  std::array<std::string, 256> spelling = spell_bytes();
  TextMap<std::uint8_t> byte_of_spelling;
  for (std::size_t b = 0; b < 256; ++b) byte_of_spelling[spelling[b]] = b;

  TextMap<std::uint16_t> ids;
  bytes_of_id_.resize(json.size());
  std::vector<bool> seen(json.size());
  for (const auto& [token, value] : json.items()) {
    const bool fits = value.is_number_unsigned() &&
                      value.get<std::uint64_t>() < json.size() &&
                      !seen[value.get<std::size_t>()];
    require(fits,
            "{}: token {} has id {}: expected distinct ids from 0 to {}",
            path.string(),
            token,
            value.dump(),
            json.size() - 1);
    const auto id = value.get<std::uint16_t>();
    seen[id] = true;
    ids.emplace(token, id);
    std::string& bytes = bytes_of_id_[id];
    for (std::size_t at = 0; at < token.size();) {
      const int length = utf8_length(std::string_view(token).substr(at, 4));
      const auto byte = byte_of_spelling.find(token.substr(at, length));
      require(byte != byte_of_spelling.end(),
              "{}: token {} holds a character that stands for no byte",
              path.string(),
              token);
      bytes += static_cast<char>(byte->second);
      at += length;
    }
  }
  for (std::size_t b = 0; b < 256; ++b) {
    const auto found = ids.find(spelling[b]);
    require(found != ids.end(), "{}: no token for byte {}", path.string(), b);
    id_of_byte_[b] = found->second;
  }
  const auto end = ids.find(kEndOfDocument);
  require(end != ids.end(), "{}: no token {}", path.string(), kEndOfDocument);
  end_of_document_ = end->second;
  return ids;
}

void BpeTokenizer::read_merges(const std::filesystem::path& path,
                               const TextMap<std::uint16_t>& ids) {
  const std::string text = read_file(path);
  const auto most =
      static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  require(most <= MergeTable::kMostMerges,
          "{}: {} lines; expected at most {} merges, one a line",
          path.string(),
          most,
          MergeTable::kMostMerges);
  merges_.emplace(most);
  std::istringstream lines(text);
  std::string line;
  std::uint16_t rank = 0;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const auto space = line.find(' ');
    const bool two = space != std::string::npos;
    const auto left = ids.find(line.substr(0, space));
    const auto right = ids.find(two ? line.substr(space + 1) : "");
    const auto both = two ? ids.find(left == ids.end() || right == ids.end()
                                         ? ""
                                         : left->first + right->first)
                          : ids.end();
    require(both != ids.end(),
            "{} line {}: expected two tokens of encoder.json whose join is a "
            "token, not {}",
            path.string(),
            number,
            line);
    merges_->add(left->second, right->second, {rank++, both->second});
  }
  require(rank > 0,
          "{}: expected merges, one a line; found none",
          path.string());
}

std::unique_ptr<BpeTokenizer::Workspace> BpeTokenizer::take_workspace() const {
  {
    const std::lock_guard lock(idle_mutex_);
    if (!idle_.empty()) {
      auto workspace = std::move(idle_.back());
      idle_.pop_back();
      return workspace;
    }
  }
  return std::make_unique<Workspace>(*merges_);
}

void BpeTokenizer::encode_word(std::string_view word,
                               Workspace& workspace,
                               std::vector<std::int32_t>& ids) const {
  std::optional<WordCache::Key> key;
  if (word.size() <= WordCache::kLongestWord) {
    const auto known = workspace.cache.find(key.emplace(word));
    if (!known.empty()) {
      ids.insert(ids.end(), known.begin(), known.end());
      return;
    }
  }
  auto& tokens = workspace.merger.tokens();
  tokens.resize(word.size());
  std::ranges::transform(word, tokens.begin(), [&](char c) {
    return id_of_byte_[static_cast<unsigned char>(c)];
  });
  workspace.merger.merge();
  ids.insert(ids.end(), tokens.begin(), tokens.end());
  if (key && tokens.size() <= WordCache::kMostTokens) {
    workspace.cache.put(*key, tokens);
  }
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text) const {
  require(
      text.size() < (std::size_t{1} << 31),
      "text of {} bytes: the tokenizer gpt2 expects less than 2 GiB a document",
      text.size());
  std::unique_ptr<Workspace> workspace = take_workspace();
  std::vector<std::int32_t> ids;
  ids.reserve(text.size() / 3);
  WordCursor words(splitter_, text);
  for (auto word = words.next(); !word.empty(); word = words.next()) {
    encode_word(word, *workspace, ids);
  }
  const std::lock_guard lock(idle_mutex_);
  idle_.push_back(std::move(workspace));
  return ids;
}

std::string BpeTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    require(ids[i] >= 0 && ids[i] < vocabulary(),
            "token {} at position {}: the tokenizer gpt2 expects 0 to {}",
            ids[i],
            i,
            vocabulary() - 1);
    text += bytes_of_id_[ids[i]];
  }
  return text;
}

}  // namespace mumoe::data
