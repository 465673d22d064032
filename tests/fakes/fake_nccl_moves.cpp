#include "tests/fakes/fake_nccl_moves.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tests/fakes/fake_cuda_runtime.h"
#include "tests/fakes/fake_reduction.h"

namespace mumoe::fakes {
namespace {

// Whether all ranks run the same; else an error of the communicator.
bool agree(ncclComm& comm, const std::array<std::int64_t, 5>& what) {
  const auto all = comm.data->gather(what.data(), sizeof(what));
  for (const Bytes& other : all) {
    if (other != all.front()) comm.error = ncclInvalidUsage;
  }
  return !all.empty() && comm.error != ncclInvalidUsage;
}

}  // namespace

void execute(const FakeOperation& o) {
  ncclComm& comm = *o.comm;
  const bool by_op =
      o.kind == FakeOperation::reduce || o.kind == FakeOperation::scatter;
  if (!agree(comm,
             {o.kind,
              static_cast<std::int64_t>(o.count),
              o.type,
              by_op ? o.op : 0,
              o.kind == FakeOperation::broadcast ? o.peer : 0})) {
    return;
  }
  const std::size_t bytes = o.count * size_of(o.type);
  const auto n = static_cast<std::size_t>(comm.size);
  const bool whole = o.kind == FakeOperation::scatter;
  const auto parts =
      comm.data->gather(kernel_view_of(o.in), whole ? n * bytes : bytes);
  if (parts.empty()) return;
  auto* out = static_cast<std::byte*>(kernel_view_of(o.out));
  if (o.kind == FakeOperation::gather) {
    for (const Bytes& part : parts) {
      out = std::copy(part.begin(), part.end(), out);
    }
  } else if (o.kind == FakeOperation::broadcast) {
    std::copy(parts[o.peer].begin(), parts[o.peer].end(), out);
  } else {
    const std::size_t first = whole ? comm.rank * o.count : 0;
    reduce(parts, first, o.count, o.type, o.op, out);
  }
}

void exchange(const std::vector<FakeOperation>& group) {
  ncclComm& comm = *group.front().comm;
  const std::size_t bytes = group.front().count * size_of(group.front().type);
  const auto n = static_cast<std::size_t>(comm.size);
  Bytes sent(n * bytes);
  std::vector<std::byte*> to(n, nullptr);
  std::int64_t sends = 0;
  for (const FakeOperation& o : group) {
    if (o.kind == FakeOperation::receive) {
      to[o.peer] = static_cast<std::byte*>(kernel_view_of(o.out));
    } else {
      std::memcpy(sent.data() + o.peer * bytes, kernel_view_of(o.in), bytes);
      ++sends;
    }
  }
  if (!agree(comm,
             {FakeOperation::send, static_cast<std::int64_t>(bytes), sends})) {
    return;
  }
  const auto parts = comm.data->gather(sent.data(), sent.size());
  for (std::size_t r = 0; r < parts.size(); ++r) {
    const auto* mine = parts[r].data() + comm.rank * bytes;
    if (to[r] != nullptr) std::memcpy(to[r], mine, bytes);
  }
}

}  // namespace mumoe::fakes
