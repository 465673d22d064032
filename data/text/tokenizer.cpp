#include "data/text/tokenizer.h"

#include "base/error.h"
#include "data/fetch.h"
#include "data/text/bpe.h"

namespace mumoe::data {

std::vector<std::int32_t> ByteTokenizer::encode(std::string_view text) const {
  const auto zero = text.find('\0');
  require(zero == std::string_view::npos,
          "text: zero byte at offset {}: the tokenizer bytes expects text "
          "without it, since it separates documents",
          zero);
  std::vector<std::int32_t> ids(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    ids[i] = static_cast<unsigned char>(text[i]);
  }
  return ids;
}

std::string ByteTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text(ids.size(), '\0');
  for (std::size_t i = 0; i < ids.size(); ++i) {
    require(ids[i] >= 0 && ids[i] < 256,
            "token {} at position {}: the tokenizer bytes expects 0 to 255",
            ids[i],
            i);
    text[i] = static_cast<char>(ids[i]);
  }
  return text;
}

std::unique_ptr<Tokenizer> make_tokenizer(
    std::string_view name,
    const std::filesystem::path& bpe_folder) {
  if (name == "bytes") return std::make_unique<ByteTokenizer>();
  if (name == "gpt2") {
    return std::make_unique<BpeTokenizer>(
        bpe_folder.empty() ? fetch_bpe_folder() : bpe_folder);
  }
  fail<InputError>("tokenizer {}: expected bytes or gpt2", name);
}

std::vector<std::int64_t> bytes_of_ids(const Tokenizer& tokenizer) {
  std::vector<std::int64_t> bytes;
  for (std::int32_t id = 0; id < tokenizer.vocabulary(); ++id) {
    const bool ends = id == tokenizer.end_of_document();
    const auto text = ends ? std::string() : tokenizer.decode({&id, 1});
    bytes.push_back(static_cast<std::int64_t>(text.size()));
  }
  return bytes;
}

}  // namespace mumoe::data
