#include "run/manifest_check.h"

#include <algorithm>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"

namespace mumoe::run {
namespace {

/// The product, if there can be so many.
std::optional<std::int64_t> product(std::span<const std::int64_t> extents) {
  std::int64_t all = 1;
  for (const auto extent : extents) {
    if (__builtin_mul_overflow(all, extent, &all)) return std::nullopt;
  }
  return all;
}

bool lies_in(const StoredPiece& piece, const StoredTensor& tensor) {
  const std::size_t dims = tensor.shape.size();
  if (piece.begin.size() != dims || piece.extent.size() != dims) return false;
  for (std::size_t d = 0; d < dims; ++d) {
    if (piece.begin[d] > tensor.shape[d] ||
        piece.extent[d] > tensor.shape[d] - piece.begin[d]) {
      return false;
    }
  }
  const std::int64_t all = *product(piece.extent);  // of a part: it is there
  return piece.first <= all && piece.count <= all - piece.first;
}

/// Whether two parts of a tensor share elements; one that is empty has none.
bool meet(const StoredPiece& a, const StoredPiece& b) {
  for (std::size_t d = 0; d < a.begin.size(); ++d) {
    if (a.begin[d] >= b.begin[d] + b.extent[d] ||
        b.begin[d] >= a.begin[d] + a.extent[d]) {
      return false;
    }
  }
  return true;
}

void require_sizes(const StoredTensor& tensor, const std::string& where) {
  const auto elements = product(tensor.shape);
  std::int64_t bytes = 0;
  const auto element =
      static_cast<std::int64_t>(c10::elementSize(tensor.dtype));
  if (!elements || __builtin_mul_overflow(*elements, element, &bytes)) {
    fail<DamageError>("{}: a shape of more than there can be", where);
  }
}

}  // namespace

void require_shared_out(const StoredTensor& tensor, const std::string& where) {
  require_sizes(tensor, where);
  const auto wrong = [&](const char* how) {
    fail<DamageError>("{}: its pieces {}", where, how);
  };
  std::vector<const StoredPiece*> pieces;
  std::int64_t count = 0;
  for (const StoredPiece& piece : tensor.pieces) {
    if (!lies_in(piece, tensor)) wrong("lie outside its shape");
    if (piece.count == 0) continue;
    if (__builtin_add_overflow(count, piece.count, &count)) {
      wrong("are more than it has");
    }
    pieces.push_back(&piece);
  }
  if (count != tensor.numel()) wrong("are not all of it");
  const auto key = [](const StoredPiece* p) {
    return std::tie(p->begin, p->extent, p->first);
  };
  std::ranges::sort(pieces, {}, key);
  std::vector<const StoredPiece*> parts;  // a piece of each
  const StoredPiece* last = nullptr;
  for (const StoredPiece* piece : pieces) {
    const bool same = last != nullptr && piece->begin == last->begin &&
                      piece->extent == last->extent;
    if (same && piece->first < last->first + last->count) wrong("overlap");
    if (!same) parts.push_back(piece);
    last = piece;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (meet(*parts[i], *parts[j])) wrong("overlap");
    }
  }
}

void require_places(const Manifest& manifest, const std::string& where) {
  struct Span {
    std::size_t file;
    std::int64_t begin, end;
    const std::string* tensor;
  };
  std::vector<Span> spans;
  for (const auto& [name, tensor] : manifest.tensors) {
    const auto element =
        static_cast<std::int64_t>(c10::elementSize(tensor.dtype));
    for (const StoredPiece& piece : tensor.pieces) {
      const std::int64_t bytes = piece.count * element;
      const bool inside =
          piece.file < manifest.files.size() &&
          bytes <= manifest.files[piece.file].bytes &&
          piece.offset <= manifest.files[piece.file].bytes - bytes;
      if (!inside) {
        fail<DamageError>("{}: tensor {}: lies outside its file", where, name);
      }
      if (bytes == 0) continue;
      spans.push_back({piece.file, piece.offset, piece.offset + bytes, &name});
    }
  }
  std::ranges::sort(spans, {}, [](const Span& s) {
    return std::pair(s.file, s.begin);
  });
  for (std::size_t i = 1; i < spans.size(); ++i) {
    if (spans[i].file == spans[i - 1].file &&
        spans[i].begin < spans[i - 1].end) {
      fail<DamageError>("{}: tensors {} and {}: lie upon each other in {}",
                        where,
                        *spans[i - 1].tensor,
                        *spans[i].tensor,
                        manifest.files[spans[i].file].name);
    }
  }
}

}  // namespace mumoe::run
