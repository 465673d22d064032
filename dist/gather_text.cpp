#include "dist/gather_text.h"

#include <ATen/ATen.h>

#include <cstring>

namespace mumoe::dist {

std::vector<std::string> gather_text(Communicator& group,
                                     std::string_view text) {
  // Communicators move no bytes: eight a number, the length before them.
  constexpr std::int64_t kWord = sizeof(std::int64_t);
  const auto length = static_cast<std::int64_t>(text.size());
  const at::Tensor longest = at::full({1}, length, at::kLong);
  group.all_reduce(longest, ReduceOp::max);
  const std::int64_t words =
      1 + (longest.item<std::int64_t>() + kWord - 1) / kWord;
  const at::Tensor mine = at::zeros({words}, at::kLong);
  std::int64_t* data = mine.mutable_data_ptr<std::int64_t>();
  data[0] = length;
  if (length > 0) std::memcpy(data + 1, text.data(), text.size());
  const at::Tensor all = at::zeros({group.size(), words}, at::kLong);
  group.all_gather(mine, all.view({-1}));

  std::vector<std::string> texts;
  for (int rank = 0; rank < group.size(); ++rank) {
    const std::int64_t* row = all.const_data_ptr<std::int64_t>() + rank * words;
    texts.emplace_back(reinterpret_cast<const char*>(row + 1), row[0]);
  }
  return texts;
}

}  // namespace mumoe::dist
