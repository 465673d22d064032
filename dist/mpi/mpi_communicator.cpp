#include "dist/mpi/mpi_communicator.h"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/mpi/mpi_context.h"
#include "dist/mpi/mpi_peer_reduction.h"
#include "dist/mpi/reduction.h"

namespace mumoe::dist {
namespace {

using Requests = std::vector<MPI_Request>;

// From this size on an all_reduce is bound by bandwidth, not latency.
constexpr std::size_t kLargeAllReduce = 64 << 10;

// `width` columns of a matrix [ranks, columns] in row-major order, as what one
// call of MPI moves: `count` times `type` is one row of them, and the next row
// begins where the matrix has it.
class Columns {
 public:
  Columns(at::ScalarType type,
          std::int64_t width,
          std::int64_t columns,
          const std::string& what)
      : count_(static_cast<int>(width)), type_(mpi_type(type)) {
    if (width == columns) return;
    MPI_Datatype row = MPI_DATATYPE_NULL;
    MUMOE_MPI_CHECK(MPI_Type_contiguous(count_, type_, &row), what);
    const auto size = static_cast<MPI_Aint>(c10::elementSize(type));
    const int code = MPI_Type_create_resized(row, 0, columns * size, &strided_);
    MPI_Type_free(&row);
    check_mpi(code, "MPI_Type_create_resized", what);
    MUMOE_MPI_CHECK(MPI_Type_commit(&strided_), what);
    count_ = 1;
    type_ = strided_;
  }
  // MPI keeps a type until the operations that use it have ended.
  ~Columns() {
    if (strided_ != MPI_DATATYPE_NULL) MPI_Type_free(&strided_);
  }
  Columns(const Columns&) = delete;
  Columns& operator=(const Columns&) = delete;

  int count() const { return count_; }
  MPI_Datatype type() const { return type_; }

 private:
  int count_;
  MPI_Datatype type_;
  MPI_Datatype strided_ = MPI_DATATYPE_NULL;
};

struct Chunk {
  std::int64_t begin;
  std::int64_t count;
};

std::vector<Chunk> chunks(std::int64_t count, std::int64_t most) {
  std::vector<Chunk> result;
  for (std::int64_t begin = 0; begin < count; begin += most) {
    result.push_back({begin, std::min(most, count - begin)});
  }
  return result;
}

std::byte* at_element(const at::Tensor& tensor, std::int64_t index) {
  return static_cast<std::byte*>(tensor.data_ptr()) +
         index * static_cast<std::int64_t>(tensor.element_size());
}

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(std::shared_ptr<MpiGroup> group,
                  int rank,
                  int size,
                  std::string axis,
                  std::int64_t max_count)
      : Communicator(rank, size, std::move(axis)),
        group_(std::move(group)),
        max_count_(max_count) {}

  std::unique_ptr<Communicator> duplicate(std::string axis,
                                          std::int64_t max_count) {
    auto comm = std::make_shared<MPI_Comm>(MPI_COMM_NULL);
    run(describe_group("duplicate", axis),
        {[group = group_](Requests& requests, const std::string& text) {
           requests.emplace_back();
           MUMOE_MPI_CHECK(MPI_Ibarrier(group->comm, &requests.back()), text);
         },
         [group = group_, comm](Requests&, const std::string& text) {
           MUMOE_MPI_CHECK(MPI_Comm_dup(group->comm, comm.get()), text);
         }});
    auto result = make_mpi_communicator(group_->context,
                                        *comm,
                                        rank(),
                                        size(),
                                        std::move(axis),
                                        max_count);
    result->set_deadline(deadline());
    result->set_phase(phase());
    return result;
  }

 private:
  at::Device device() const override { return at::kCPU; }

  Work do_all_reduce(const at::Tensor& tensor, ReduceOp op) override {
    return tensor.nbytes() < kLargeAllReduce ? all_reduce_by_mpi(tensor, op)
                                             : all_reduce_by_peers(tensor, op);
  }

  Work all_reduce_by_mpi(const at::Tensor& tensor, ReduceOp op) {
    auto reduce = [group = group_, tensor, op, most = max_count_](
                      Requests& requests,
                      const std::string& what) {
      const auto type = tensor.scalar_type();
      const MPI_Op reduction = group->context->ops.get(type, op);
      for (const Chunk& chunk : chunks(tensor.numel(), most)) {
        MPI_Request request;
        MUMOE_MPI_CHECK(MPI_Iallreduce(MPI_IN_PLACE,
                                       at_element(tensor, chunk.begin),
                                       static_cast<int>(chunk.count),
                                       mpi_type(type),
                                       reduction,
                                       group->comm,
                                       &request),
                        what);
        requests.push_back(request);
      }
    };
    if (op != ReduceOp::avg) return start(Op::all_reduce, {std::move(reduce)});
    auto scale = [tensor, ranks = size()](Requests&, const std::string&) {
      divide(tensor.scalar_type(), tensor.data_ptr(), tensor.numel(), ranks);
    };
    return start(Op::all_reduce, {std::move(reduce), std::move(scale)});
  }

  Work all_reduce_by_peers(const at::Tensor& tensor, ReduceOp op) {
    auto reduction = std::make_shared<MpiPeerReduction>(group_,
                                                        rank(),
                                                        size(),
                                                        sequence(),
                                                        op,
                                                        max_count_);
    reduction->all_reduce(tensor);
    return start(Op::all_reduce,
                 MpiPeerReduction::steps(reduction),
                 2 * tensor.nbytes());
  }

  Work do_all_gather(const at::Tensor& shard,
                     const at::Tensor& whole) override {
    auto begin =
        [group = group_, shard, whole, rank = rank(), most = columns_at_once()](
            Requests& requests,
            const std::string& what) {
          const std::int64_t columns = shard.numel();
          const bool in_place =
              shard.data_ptr() == at_element(whole, rank * columns);
          for (const Chunk& chunk : chunks(columns, most)) {
            const Columns part(shard.scalar_type(), chunk.count, columns, what);
            const void* from =
                in_place ? MPI_IN_PLACE : at_element(shard, chunk.begin);
            MPI_Request request;
            MUMOE_MPI_CHECK(MPI_Iallgather(from,
                                           part.count(),
                                           part.type(),
                                           at_element(whole, chunk.begin),
                                           part.count(),
                                           part.type(),
                                           group->comm,
                                           &request),
                            what);
            requests.push_back(request);
          }
        };
    return start(Op::all_gather, {std::move(begin)}, whole.nbytes());
  }

  Work do_reduce_scatter(const at::Tensor& whole,
                         const at::Tensor& shard,
                         ReduceOp op) override {
    auto reduction = std::make_shared<MpiPeerReduction>(group_,
                                                        rank(),
                                                        size(),
                                                        sequence(),
                                                        op,
                                                        max_count_);
    reduction->reduce_scatter(whole, shard);
    return start(Op::reduce_scatter,
                 MpiPeerReduction::steps(reduction),
                 whole.nbytes());
  }

  Work do_all_to_all(const at::Tensor& in, const at::Tensor& out) override {
    auto begin =
        [group = group_, in, out, ranks = size(), most = columns_at_once()](
            Requests& requests,
            const std::string& what) {
          exchange(*group, in, at_element(out, 0), ranks, most, requests, what);
        };
    return start(Op::all_to_all, {std::move(begin)}, in.nbytes());
  }

  Work do_broadcast(const at::Tensor& tensor, int root) override {
    auto begin = [group = group_, tensor, root, most = max_count_](
                     Requests& requests,
                     const std::string& what) {
      for (const Chunk& chunk : chunks(tensor.numel(), most)) {
        MPI_Request request;
        MUMOE_MPI_CHECK(MPI_Ibcast(at_element(tensor, chunk.begin),
                                   static_cast<int>(chunk.count),
                                   mpi_type(tensor.scalar_type()),
                                   root,
                                   group->comm,
                                   &request),
                        what);
        requests.push_back(request);
      }
    };
    return start(Op::broadcast, {std::move(begin)}, tensor.nbytes());
  }

  Work do_barrier() override {
    auto begin = [group = group_](Requests& requests, const std::string& what) {
      MPI_Request request;
      MUMOE_MPI_CHECK(MPI_Ibarrier(group->comm, &request), what);
      requests.push_back(request);
    };
    return start(Op::barrier, {std::move(begin)});
  }

  std::unique_ptr<Communicator> do_split(int color,
                                         int key,
                                         std::string axis) override {
    // MPI takes no negative colors, and blocks in MPI_Comm_split: every rank
    // learns all choices first, so that all have arrived when it is called.
    struct Choices {
      std::array<int, 2> own;
      std::vector<int> all;  // [size, 2]: color, key
      MPI_Comm comm = MPI_COMM_NULL;
    };
    auto choices = std::make_shared<Choices>();
    choices->own = {color, key};
    choices->all.resize(2 * size());
    run(describe_group("split", axis),
        {[group = group_, choices](Requests& requests,
                                   const std::string& text) {
           MPI_Request request;
           MUMOE_MPI_CHECK(MPI_Iallgather(choices->own.data(),
                                          2,
                                          MPI_INT,
                                          choices->all.data(),
                                          2,
                                          MPI_INT,
                                          group->comm,
                                          &request),
                           text);
           requests.push_back(request);
         },
         [group = group_, choices, ranks = size()](Requests&,
                                                   const std::string& text) {
           int first = 0;  // the lowest rank of this color stands for it
           while (choices->all[2 * first] != choices->own[0]) ++first;
           MUMOE_CHECK(first < ranks);
           MUMOE_MPI_CHECK(MPI_Comm_split(group->comm,
                                          first,
                                          choices->own[1],
                                          &choices->comm),
                           text);
         }});
    std::vector<std::pair<int, int>> members;  // (key, rank here)
    for (int r = 0; r < size(); ++r) {
      if (choices->all[2 * r] == color) {
        members.emplace_back(choices->all[2 * r + 1], r);
      }
    }
    std::sort(members.begin(), members.end());
    const auto self =
        std::find(members.begin(), members.end(), std::pair{key, rank()});
    return make_mpi_communicator(group_->context,
                                 choices->comm,
                                 static_cast<int>(self - members.begin()),
                                 static_cast<int>(members.size()),
                                 std::move(axis),
                                 max_count_);
  }

  // Row r of `out` becomes row `rank` of rank r's `in`, both [ranks, columns].
  static void exchange(const MpiGroup& group,
                       const at::Tensor& in,
                       std::byte* out,
                       int ranks,
                       std::int64_t most,
                       Requests& requests,
                       const std::string& what) {
    const std::int64_t columns = in.numel() / ranks;
    const auto size = static_cast<std::int64_t>(in.element_size());
    for (const Chunk& chunk : chunks(columns, most)) {
      const Columns part(in.scalar_type(), chunk.count, columns, what);
      MPI_Request request;
      MUMOE_MPI_CHECK(MPI_Ialltoall(at_element(in, chunk.begin),
                                    part.count(),
                                    part.type(),
                                    out + chunk.begin * size,
                                    part.count(),
                                    part.type(),
                                    group.comm,
                                    &request),
                      what);
      requests.push_back(request);
    }
  }

  // Elements of one rank's part that one call may move, for all parts together
  // to stay below the limit.
  std::int64_t columns_at_once() const {
    return std::max<std::int64_t>(1, max_count_ / size());
  }

  Work start(Op op, std::vector<MpiTask::Step> steps, std::size_t bytes = 0) {
    auto task = std::make_shared<MpiTask>(describe(op),
                                          deadline(),
                                          std::move(steps),
                                          bytes);
    group_->context->thread->post(task);
    return Work(std::move(task));
  }

  void run(std::string what, std::vector<MpiTask::Step> steps) {
    auto task = std::make_shared<MpiTask>(std::move(what),
                                          deadline(),
                                          std::move(steps));
    group_->context->thread->post(task);
    task->wait();
  }

  std::string describe_group(std::string_view action,
                             const std::string& axis) const {
    return fmt::format("rank {} of {} (axis {}), {} into {}, phase {}",
                       rank(),
                       size(),
                       this->axis(),
                       action,
                       axis,
                       phase());
  }

  std::shared_ptr<MpiGroup> group_;
  std::int64_t max_count_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(
    std::shared_ptr<const MpiContext> context,
    MPI_Comm comm,
    int rank,
    int size,
    std::string axis,
    std::int64_t max_count) {
  MUMOE_CHECK(max_count >= 1 && max_count <= kMpiMaxCount);
  return std::make_unique<MpiCommunicator>(
      std::make_shared<MpiGroup>(std::move(context), comm),
      rank,
      size,
      std::move(axis),
      max_count);
}

std::unique_ptr<Communicator> duplicate(Communicator& world,
                                        std::string axis,
                                        std::int64_t max_count) {
  return dynamic_cast<MpiCommunicator&>(world).duplicate(std::move(axis),
                                                         max_count);
}

}  // namespace mumoe::dist
