#include "run/stored_order.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace mumoe::run {

std::vector<std::string> stored_order(const Manifest& manifest) {
  std::vector<std::tuple<std::size_t, std::int64_t, std::string>> places;
  for (const auto& [name, tensor] : manifest.tensors) {
    std::pair<std::size_t, std::int64_t> first{manifest.files.size(), 0};
    for (const StoredPiece& piece : tensor.pieces) {
      if (piece.count > 0) first = std::min(first, {piece.file, piece.offset});
    }
    places.emplace_back(first.first, first.second, name);
  }
  std::ranges::sort(places);
  std::vector<std::string> names;
  for (auto& place : places) names.push_back(std::move(std::get<2>(place)));
  return names;
}

}  // namespace mumoe::run
