#include "study/experts/prompts.h"

#include "base/error.h"

namespace mumoe::study {

Prompts::Prompts(const std::vector<std::string>& texts,
                 const data::Tokenizer& tokenizer,
                 std::int64_t context) {
  for (const std::string& text : texts) {
    std::vector<std::int32_t> ids{tokenizer.end_of_document()};
    for (const std::int32_t id : tokenizer.encode(text)) ids.push_back(id);
    const auto most = static_cast<std::size_t>(context);
    if (ids.size() > most) {
      ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(most));
    }
    tokens_.push_back(std::move(ids));
  }
}

data::HostBatch Prompts::make(std::span<const std::uint64_t> indices) const {
  MUMOE_CHECK(indices.size() == 1, "{} prompts at once", indices.size());
  const std::vector<std::int32_t>& ids = tokens_.at(indices[0]);
  // What comes next is not looked at.
  std::vector<std::int32_t> next(ids.begin() + 1, ids.end());
  next.push_back(ids.front());
  return {.samples = 1, .input = ids, .target = std::move(next)};
}

}  // namespace mumoe::study
