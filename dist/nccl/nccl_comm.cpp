#include "dist/nccl/nccl_comm.h"

#include <fmt/format.h>
#include <nccl.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <utility>

#include "base/error.h"
#include "dist/nccl/nccl_context.h"

// Runs `call` of NCCL as an operation of this group.
#define MUMOE_NCCL_RUN(expression, call) \
  context_->run(                         \
      comm_,                             \
      [&] { return expression; },        \
      #expression,                       \
      call)

namespace mumoe::dist {
namespace {

ncclDataType_t nccl_type(NcclType type) {
  constexpr std::array kTypes = {ncclBfloat16,
                                 ncclFloat32,
                                 ncclFloat64,
                                 ncclInt64};
  return kTypes.at(static_cast<std::size_t>(type));
}

ncclRedOp_t nccl_op(ReduceOp op) {
  constexpr std::array kReductions = {ncclSum, ncclAvg, ncclMin, ncclMax};
  return kReductions.at(static_cast<std::size_t>(op));
}

}  // namespace

std::size_t size_of(NcclType type) {
  return std::array{2, 4, 8, 8}.at(static_cast<std::size_t>(type));
}

NcclComm::Id NcclComm::make_id(const NcclCall& call) {
  static_assert(sizeof(Id) == sizeof(ncclUniqueId));
  ncclUniqueId id;
  check_nccl(ncclGetUniqueId(&id), nullptr, "ncclGetUniqueId", call);
  Id bytes;
  std::memcpy(bytes.data(), &id, sizeof(id));
  return bytes;
}

std::string NcclComm::version() {
  int version = 0;
  check_nccl(ncclGetVersion(&version), nullptr, "ncclGetVersion", {"start"});
  return fmt::format("{}.{}.{}",
                     version / 10000,
                     version / 100 % 100,
                     version % 100);
}

NcclComm::NcclComm(std::shared_ptr<NcclContext> context,
                   const Id& id,
                   int rank,
                   int size,
                   std::string axis,
                   const NcclCall& call)
    : context_(std::move(context)),
      stream_(context_->make_stream(call)),
      rank_(rank),
      size_(size),
      axis_(std::move(axis)) {
  ncclUniqueId unique;
  std::memcpy(&unique, id.data(), sizeof(unique));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  comm_ = context_->open(
      nullptr,
      [&](ncclComm_t* comm) {
        return ncclCommInitRankConfig(comm, size, unique, rank, &config);
      },
      "ncclCommInitRankConfig",
      axis_,
      call);
}

NcclComm::NcclComm(std::shared_ptr<NcclContext> context,
                   ncclComm* comm,
                   std::string axis,
                   const NcclCall& call)
    : context_(std::move(context)),
      stream_(context_->make_stream(call)),
      comm_(comm),
      axis_(std::move(axis)) {
  MUMOE_NCCL_RUN(ncclCommUserRank(comm_, &rank_), call);
  MUMOE_NCCL_RUN(ncclCommCount(comm_, &size_), call);
}

NcclComm::~NcclComm() {
  const NcclCall call{
      fmt::format("rank {} of {} (axis {}), end of NCCL", rank_, size_, axis_),
      context_->limits().close};
  // The other ranks of a group do not come to its end when this one fails.
  if (std::uncaught_exceptions() > 0) {
    context_->abort(call.what + ": an error ends this rank",
                    context_->limits().abort);
    return;
  }
  try {
    context_->close(comm_, call);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    context_->abort(error.what(), context_->limits().abort);
  }
}

std::unique_ptr<NcclComm> NcclComm::split(int color,
                                          int key,
                                          std::string axis,
                                          const NcclCall& call) {
  ncclComm_t comm = context_->open(
      comm_,
      [&](ncclComm_t* child) {
        return ncclCommSplit(comm_, color, key, child, nullptr);
      },
      "ncclCommSplit",
      axis,
      call);
  if (comm == nullptr) return nullptr;
  return std::unique_ptr<NcclComm>(
      new NcclComm(context_, comm, std::move(axis), call));
}

void NcclComm::all_reduce(const NcclData& data,
                          ReduceOp op,
                          const NcclCall& call) {
  MUMOE_NCCL_RUN(ncclAllReduce(data.in,
                               data.out,
                               data.count,
                               nccl_type(data.type),
                               nccl_op(op),
                               comm_,
                               stream_),
                 call);
}

void NcclComm::all_gather(const NcclData& data, const NcclCall& call) {
  MUMOE_NCCL_RUN(ncclAllGather(data.in,
                               data.out,
                               data.count,
                               nccl_type(data.type),
                               comm_,
                               stream_),
                 call);
}

void NcclComm::reduce_scatter(const NcclData& data,
                              ReduceOp op,
                              const NcclCall& call) {
  MUMOE_NCCL_RUN(ncclReduceScatter(data.in,
                                   data.out,
                                   data.count,
                                   nccl_type(data.type),
                                   nccl_op(op),
                                   comm_,
                                   stream_),
                 call);
}

void NcclComm::all_to_all(const NcclData& data, const NcclCall& call) {
  const std::size_t bytes = data.count * size_of(data.type);
  const auto* from = static_cast<const std::byte*>(data.in);
  auto* to = static_cast<std::byte*>(data.out);
  const ncclDataType_t type = nccl_type(data.type);
  context_->group(
      [&] {
        for (int r = 0; r < size_; ++r, from += bytes, to += bytes) {
          MUMOE_NCCL_RUN(ncclSend(from, data.count, type, r, comm_, stream_),
                         call);
          MUMOE_NCCL_RUN(ncclRecv(to, data.count, type, r, comm_, stream_),
                         call);
        }
      },
      call);
}

void NcclComm::broadcast(const NcclData& data, int root, const NcclCall& call) {
  MUMOE_NCCL_RUN(ncclBroadcast(data.in,
                               data.out,
                               data.count,
                               nccl_type(data.type),
                               root,
                               comm_,
                               stream_),
                 call);
}

void NcclComm::barrier(void* word, const NcclCall& call) {
  all_reduce({word, word, 1, NcclType::int64}, ReduceOp::sum, call);
}

void NcclComm::check(const NcclCall& call) const {
  context_->check(comm_, call);
}

}  // namespace mumoe::dist
