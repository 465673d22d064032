#include "data/text/token_view.h"

#include <algorithm>

#include "base/error.h"
#include "data/text/forms.h"

namespace mumoe::data {

TokenView::TokenView(std::span<const TokenFile> files) : starts_{0} {
  MUMOE_CHECK(!files.empty());
  for (const TokenFile& file : files) {
    files_.push_back(&file);
    starts_.push_back(starts_.back() + file.size());
  }
}

void TokenView::copy(std::uint64_t first, std::span<std::int32_t> out) const {
  require(first <= size() && out.size() <= size() - first,
          "{}: tokens {} to {} wanted; expected an end of at most {}",
          printable(path().string()),
          first,
          first + out.size(),
          size());
  auto file = static_cast<std::size_t>(
      std::ranges::upper_bound(starts_, first) - starts_.begin() - 1);
  while (!out.empty()) {
    const std::uint64_t within = first - starts_[file];
    const auto here = static_cast<std::size_t>(
        std::min<std::uint64_t>(out.size(), files_[file]->size() - within));
    files_[file]->copy(within, out.first(here));
    out = out.subspan(here);
    first += here;
    ++file;
  }
}

}  // namespace mumoe::data
