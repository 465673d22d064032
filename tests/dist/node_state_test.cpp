// What nodes of autograd keep, and where they put gradients.
#include "dist/node_state.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "dist/params/gradient_slot.h"

namespace mumoe::dist {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// y = factor · x².
struct State {
  at::Tensor missing, x;
  double factor;
  template <class F>
  void each(F f) {
    f(missing);
    f(x);
  }
};
struct Square : torch::autograd::Function<Square> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& x,
                            double factor) {
    keep(*context, State{{}, x, factor});
    return factor * x * x;
  }
  static variable_list backward(AutogradContext* context,
                                const variable_list& grads) {
    const auto state = kept<State>(*context);
    EXPECT_FALSE(state.missing.defined());
    return {2 * state.factor * state.x * grads[0], {}};
  }
};

at::Tensor leaf() {
  return at::full({3}, 2.0, at::kDouble).requires_grad_(true);
}

TEST(NodeState, ComesBackInBackward) {
  const at::Tensor x = leaf();
  Square::apply(x, 5.0).sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), at::full({3}, 20.0, at::kDouble)));
}

TEST(NodeState, IsFreedByBackward) {
  const at::Tensor y = Square::apply(leaf(), 5.0).sum();
  y.backward();
  EXPECT_THROW(y.backward(), c10::Error);
}

TEST(NodeState, TensorsThatWereChangedAreRefused) {
  const at::Tensor x = leaf() * 1;
  const at::Tensor y = Square::apply(x, 5.0).sum();
  x.mul_(2);
  EXPECT_THROW(y.backward(), c10::Error);
}

TEST(NodeState, TensorsDieWithTheGraph) {
  c10::weak_intrusive_ptr<c10::TensorImpl> kept_tensor = [] {
    at::Tensor middle = leaf() * 1;
    const at::Tensor y = Square::apply(middle, 5.0).sum();
    c10::weak_intrusive_ptr<c10::TensorImpl> weak(middle.getIntrusivePtr());
    middle.reset();
    EXPECT_FALSE(weak.expired());
    y.backward({}, /*retain_graph=*/false);
    EXPECT_TRUE(weak.expired());
    return weak;
  }();
  EXPECT_TRUE(kept_tensor.expired());
}

struct Told final : torch::autograd::PostAccumulateGradHook {
  explicit Told(int& times) : times(times) {}
  void operator()(const at::Tensor&) override { ++times; }
  int& times;
};

TEST(GradientSlot, AddsToTheGradientOfALeafAndTellsItsHook) {
  int times = 0;
  at::Tensor x = leaf();
  torch::autograd::impl::set_post_acc_grad_hooks(x,
                                                 std::make_unique<Told>(times));
  const at::Tensor held = at::ones({3}, at::kDouble);
  x.mutable_grad() = held;
  const GradientSlot slot(x, /*in_place=*/true);
  ASSERT_TRUE(slot.wanted());
  EXPECT_TRUE(slot.accumulate());
  slot.put(held * 4);
  EXPECT_EQ(times, 0);
  EXPECT_FALSE(slot.finish().defined());
  EXPECT_EQ(times, 1);
  EXPECT_TRUE(at::equal(held, at::full({3}, 5.0, at::kDouble)));
}

TEST(GradientSlot, IsATensorOfItsOwnOtherwise) {
  const at::Tensor x = leaf();
  for (const bool in_place : {false, true}) {  // no .grad yet
    const GradientSlot slot(x, in_place);
    ASSERT_TRUE(slot.wanted());
    EXPECT_FALSE(slot.accumulate());
    slot.put(at::ones({3}, at::kDouble));
    EXPECT_TRUE(at::equal(slot.finish(), at::ones({3}, at::kDouble)));
  }
  EXPECT_FALSE(GradientSlot({}, true).wanted());
  EXPECT_FALSE(GradientSlot(at::ones({3}), true).finish().defined());
}

}  // namespace
}  // namespace mumoe::dist
