#include "dist/mpi/mpi_communicator.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dist/mpi/mpi_context.h"
#include "dist/mpi/mpi_peer_reduction.h"
#include "dist/mpi/reduction.h"

namespace mumoe::dist {
namespace {

using Requests = MpiTask::Requests;

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

// Calls `f` with the begin and the count of each part of `count` elements, of
// which one call of MPI moves at most `most`.
template <class F>
void in_parts(std::int64_t count, std::int64_t most, F f) {
  for (std::int64_t begin = 0; begin < count; begin += most) {
    f(begin, std::min(most, count - begin));
  }
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
    run(describe("duplicate into " + axis),
        {barrier_step(),
         [group = group_, comm](Requests&, const std::string& what) {
           MUMOE_MPI_CHECK(MPI_Comm_dup(group->comm, comm.get()), what);
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
    if (tensor.nbytes() < kLargeAllReduce) return all_reduce_by_mpi(tensor, op);
    return reduce_by_peers(Op::all_reduce, op, tensor, {}, 2 * tensor.nbytes());
  }

  Work all_reduce_by_mpi(const at::Tensor& tensor, ReduceOp op) {
    auto reduce = [group = group_, tensor, op, most = max_count_](
                      Requests& requests,
                      const std::string& what) {
      const auto type = tensor.scalar_type();
      in_parts(tensor.numel(), most, [&](std::int64_t begin, auto count) {
        MUMOE_MPI_CHECK(MPI_Iallreduce(MPI_IN_PLACE,
                                       at_element(tensor, begin),
                                       static_cast<int>(count),
                                       mpi_type(type),
                                       group->context->ops.get(type, op),
                                       group->comm,
                                       next(requests)),
                        what);
      });
    };
    if (op != ReduceOp::avg) return start(Op::all_reduce, {std::move(reduce)});
    auto scale = [tensor, ranks = size()](Requests&, const std::string&) {
      divide(tensor.scalar_type(), tensor.data_ptr(), tensor.numel(), ranks);
    };
    return start(Op::all_reduce, {std::move(reduce), std::move(scale)});
  }

  // Without `shard` an all_reduce.
  Work reduce_by_peers(Op kind,
                       ReduceOp op,
                       const at::Tensor& whole,
                       const at::Tensor& shard,
                       std::size_t bytes) {
    auto reduction = std::make_shared<MpiPeerReduction>(group_,
                                                        rank(),
                                                        size(),
                                                        sequence(),
                                                        op,
                                                        max_count_,
                                                        whole,
                                                        shard);
    return start(kind, MpiPeerReduction::steps(reduction), bytes);
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
          in_parts(columns, most, [&](std::int64_t first, auto count) {
            const Columns part(shard.scalar_type(), count, columns, what);
            MUMOE_MPI_CHECK(MPI_Iallgather(in_place ? MPI_IN_PLACE
                                                    : at_element(shard, first),
                                           part.count(),
                                           part.type(),
                                           at_element(whole, first),
                                           part.count(),
                                           part.type(),
                                           group->comm,
                                           next(requests)),
                            what);
          });
        };
    return start(Op::all_gather, {std::move(begin)}, whole.nbytes());
  }

  Work do_reduce_scatter(const at::Tensor& whole,
                         const at::Tensor& shard,
                         ReduceOp op) override {
    return reduce_by_peers(Op::reduce_scatter,
                           op,
                           whole,
                           shard,
                           whole.nbytes());
  }

  Work do_all_to_all(const at::Tensor& in, const at::Tensor& out) override {
    // Row r of `out` becomes row `rank` of rank r's `in`, both [ranks,
    // columns].
    auto begin = [group = group_,
                  in,
                  out,
                  columns = in.numel() / size(),
                  most = columns_at_once()](Requests& requests,
                                            const std::string& what) {
      in_parts(columns, most, [&](std::int64_t first, auto count) {
        const Columns part(in.scalar_type(), count, columns, what);
        MUMOE_MPI_CHECK(MPI_Ialltoall(at_element(in, first),
                                      part.count(),
                                      part.type(),
                                      at_element(out, first),
                                      part.count(),
                                      part.type(),
                                      group->comm,
                                      next(requests)),
                        what);
      });
    };
    return start(Op::all_to_all, {std::move(begin)}, in.nbytes());
  }

  Work do_broadcast(const at::Tensor& tensor, int root) override {
    auto begin = [group = group_, tensor, root, most = max_count_](
                     Requests& requests,
                     const std::string& what) {
      in_parts(tensor.numel(), most, [&](std::int64_t first, auto count) {
        MUMOE_MPI_CHECK(MPI_Ibcast(at_element(tensor, first),
                                   static_cast<int>(count),
                                   mpi_type(tensor.scalar_type()),
                                   root,
                                   group->comm,
                                   next(requests)),
                        what);
      });
    };
    return start(Op::broadcast, {std::move(begin)}, tensor.nbytes());
  }

  Work do_barrier() override { return start(Op::barrier, {barrier_step()}); }

  MpiTask::Step barrier_step() const {
    return [group = group_](Requests& requests, const std::string& what) {
      MUMOE_MPI_CHECK(MPI_Ibarrier(group->comm, next(requests)), what);
    };
  }

  std::unique_ptr<Communicator> do_split(int color,
                                         int key,
                                         std::string axis) override;

  // Elements of one rank's part that one call may move, for all parts together
  // to stay below the limit.
  std::int64_t columns_at_once() const {
    return std::max<std::int64_t>(1, max_count_ / size());
  }

  std::shared_ptr<MpiTask> post(std::string what,
                                std::vector<MpiTask::Step> steps,
                                std::size_t bytes = 0) {
    auto task = std::make_shared<MpiTask>(std::move(what),
                                          deadline(),
                                          std::move(steps),
                                          bytes);
    group_->context->thread->post(task);
    return task;
  }
  Work start(Op op, std::vector<MpiTask::Step> steps, std::size_t bytes = 0) {
    return Work(post(describe(op), std::move(steps), bytes));
  }
  void run(std::string what, std::vector<MpiTask::Step> steps) {
    post(std::move(what), std::move(steps))->wait();
  }

  std::shared_ptr<MpiGroup> group_;
  std::int64_t max_count_;
};

// MPI takes no negative colors, and blocks in MPI_Comm_split: every rank learns
// all colors first, so that all have arrived when it is called.
std::unique_ptr<Communicator> MpiCommunicator::do_split(int color,
                                                        int key,
                                                        std::string axis) {
  struct Split {
    int color;
    std::vector<int> colors;  // of all ranks
    MPI_Comm comm = MPI_COMM_NULL;
    int rank = 0;
    int size = 0;
  };
  auto split = std::make_shared<Split>(color, std::vector<int>(size()));
  run(describe("split into " + axis),
      {[group = group_, split](Requests& requests, const std::string& what) {
         MUMOE_MPI_CHECK(MPI_Iallgather(&split->color,
                                        1,
                                        MPI_INT,
                                        split->colors.data(),
                                        1,
                                        MPI_INT,
                                        group->comm,
                                        next(requests)),
                         what);
       },
       [group = group_, split, key](Requests&, const std::string& what) {
         // The lowest rank of a color stands for it.
         const auto first = std::ranges::find(split->colors, split->color);
         const int place = static_cast<int>(first - split->colors.begin());
         MUMOE_MPI_CHECK(MPI_Comm_split(group->comm, place, key, &split->comm),
                         what);
         MUMOE_MPI_CHECK(MPI_Comm_rank(split->comm, &split->rank), what);
         MUMOE_MPI_CHECK(MPI_Comm_size(split->comm, &split->size), what);
       }});
  return make_mpi_communicator(group_->context,
                               split->comm,
                               split->rank,
                               split->size,
                               std::move(axis),
                               max_count_);
}

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
