"""Tianshou's on-policy algorithms with the advantages computed in torch from a `RolloutBuffer`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tianshou.algorithm import A2C, NPG, PPO, TRPO
from tianshou.algorithm.modelfree.a2c import A2CTrainingStats
from tianshou.data import SequenceSummaryStats

from baselines.data.normalizer import ObsNormalizer
from baselines.data.returns import gae
from baselines.data.rollout_buffer import RolloutBuffer
from baselines.tianshou import private
from baselines.tianshou.batch import AlwaysTraining, TensorBatch
from baselines.tianshou.graphs import Recording, on_a_side_stream, tensor_cores
from tasks.core import fast

_LOSSES = ("actor_loss", "vf_loss", "ent_loss", "loss")
_EPS = 1e-8  # Tianshou's, in the scales of returns and advantages


class TensorAdvantages(AlwaysTraining):
    """Replaces `_add_returns_and_advantages` of Tianshou's actor-critic algorithms; their updates stay.

    A truncated row is bootstrapped from its true last observation (Pardo et al. 2018, arXiv:1712.00378).
    """

    def __init__(self, **kwargs: Any) -> None:
        """Take the algorithm's own arguments."""
        super().__init__(max_batchsize=1 << 31, **kwargs)  # one forward pass over the rollout, not chunks of 256 rows
        self.ret_rms = ObsNormalizer(1)  # only its running variance is used, as in Tianshou
        self.advantage: torch.Tensor | None = None  # [T, N] of the last rollout, for teachers

    @torch.no_grad()
    def _add_returns_and_advantages(self, batch: TensorBatch, buffer: RolloutBuffer, indices: None) -> TensorBatch:
        horizon, num_envs = buffer.horizon, buffer.num_envs
        value = self.critic(batch.obs).view(horizon, num_envs)
        last_value = self.critic(buffer.read(buffer.obs[-1])).view(1, num_envs)
        next_value = torch.cat((value[1:], last_value))
        cut = (buffer.truncated & ~buffer.terminated).nonzero(as_tuple=True)  # few rows: one wait per update
        if len(cut[0]):
            next_value[cut] = self.critic(buffer.read(buffer.final_obs[cut])).flatten()
        next_value = next_value.masked_fill(buffer.terminated, 0.0)
        scale = (self.ret_rms.var + _EPS).sqrt().to(value.dtype) if self.return_scaling else 1.0
        done = buffer.terminated | buffer.truncated
        advantage = gae(buffer.reward, value * scale, next_value * scale, done, self.gamma, self.gae_lambda)
        self.advantage = advantage
        returns = advantage + value * scale
        batch.v_s = value.flatten()
        batch.adv = advantage.flatten()
        batch.returns = (returns / scale).flatten()
        if self.return_scaling:
            self.ret_rms.update(returns.view(-1, 1))
        return batch


class TensorPPO(TensorAdvantages, PPO):
    """PPO whose losses stay on the device until the end of an update.

    Tianshou's own update reads four losses after every minibatch. At each of them the host waits for the GPU, and
    cannot prepare the next minibatch meanwhile. The losses and the steps are the same, to the bit.

    The learning rate can follow the KL divergence from one pass over the rollout to the next.
    Above twice `desired_kl` the rate is divided by 1.5, below half of it multiplied by 1.5. The rule is that of the
    adaptive penalty in Schulman et al. 2017 (arXiv:1707.06347, section 4), applied to the learning rate as in Rudin
    et al. 2022 (arXiv:2109.11978) and rsl_rl. The divergence is estimated from the rollout's actions by
    E[(r - 1) - log r] (Schulman, "Approximating KL Divergence", 2020).
    """

    def __init__(
        self, *, desired_kl: float | None, learning_rate_min: float, learning_rate_max: float, **kwargs: Any
    ) -> None:
        """`desired_kl` in nats per update, or None for a constant rate; the other arguments are PPO's."""
        super().__init__(**kwargs)
        self.desired_kl = desired_kl
        self.learning_rate_range = (learning_rate_min, learning_rate_max)
        self._rate: torch.Tensor | None = None  # [] on CUDA: the learning rate that a recorded pass reads
        self._recording: Recording | None = None

    def _update_with_batch(self, batch: TensorBatch, batch_size: int | None, repeat: int) -> A2CTrainingStats:
        losses = []
        for _ in range(repeat):
            of_minibatches, kl = self._pass(batch, batch_size)
            losses.append(of_minibatches.clone())
            if self.desired_kl is not None:
                self._adapt_learning_rate(float(kl))
        values = torch.cat(losses)
        summaries = map(SequenceSummaryStats.from_sequence, values.T.tolist())
        return A2CTrainingStats(**dict(zip(_LOSSES, summaries, strict=True)), gradient_steps=len(values))

    def _pass(self, batch: TensorBatch, batch_size: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """One pass over the rollout: its losses [minibatches, 4] as in `_LOSSES`, and the divergence after it []."""
        if not batch.obs.is_cuda or not fast.enabled():
            return self._learn_from(batch, batch_size)
        if self._rate is None:  # the first pass, which loads all that a recording needs
            self._rate = torch.zeros((), device=batch.obs.device)
            return on_a_side_stream(lambda: self._learn_from(batch, batch_size))
        if self._recording is None:
            with self._rate_on_the_device():
                self._recording = Recording(lambda recorded: self._learn_from(recorded, batch_size), batch)
        self._rate.fill_(self.learning_rate)
        return self._recording(batch)

    def _learn_from(self, batch: TensorBatch, batch_size: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        with tensor_cores():
            values = torch.stack([self._descend(part) for part in batch.split(batch_size or -1, merge_last=True)])
        return values, values.new_zeros(()) if self.desired_kl is None else self._kl(batch)

    def _descend(self, minibatch: TensorBatch) -> torch.Tensor:
        """One step of the optimiser: the losses before it [4], as in `_LOSSES`."""
        dist = self.policy(minibatch).dist
        ratio = (dist.log_prob(minibatch.act) - minibatch.logp_old).exp().float()
        actor_loss = self._actor_loss(ratio, minibatch.adv)
        vf_loss = self._value_loss(minibatch, self.critic(minibatch.obs).flatten())
        entropy = dist.entropy().mean()
        loss = actor_loss + self.vf_coef * vf_loss - self.ent_coef * entropy
        self.optim.step(loss)
        return torch.stack([x.detach() for x in (actor_loss, vf_loss, entropy, loss)])

    def _actor_loss(self, ratio: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
        """The clipped objective of PPO, for ratios and advantages [n]."""
        if self.advantage_normalization:
            advantage = (advantage - advantage.mean()) / (advantage.std() + _EPS)
        clipped = ratio.clamp(1.0 - self.eps_clip, 1.0 + self.eps_clip)
        return -torch.min(ratio * advantage, clipped * advantage).mean()

    def _value_loss(self, minibatch: TensorBatch, value: torch.Tensor) -> torch.Tensor:
        """The squared error of values [n]; with `value_clip`, they count as moved by `eps_clip` at most."""
        error = (minibatch.returns - value).pow(2)
        if not self.value_clip:
            return error.mean()
        moved = (value - minibatch.v_s).clamp(-self.eps_clip, self.eps_clip)
        return torch.max(error, (minibatch.returns - (minibatch.v_s + moved)).pow(2)).mean()

    @contextmanager
    def _rate_on_the_device(self) -> Iterator[None]:
        """Let the optimiser take the learning rate from where a recording finds what it is by then."""
        groups = private.learning_rates(self)
        before = [(group["lr"], group["capturable"]) for group in groups]
        for group in groups:
            group.update(lr=self._rate, capturable=True)
        try:
            yield
        finally:
            for group, (rate, capturable) in zip(groups, before, strict=True):
                group.update(lr=rate, capturable=capturable)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """See `torch.nn.Module`; the optimiser has other tensors after it."""
        self._recording = None
        return super().load_state_dict(*args, **kwargs)

    @torch.no_grad()
    def _kl(self, batch: TensorBatch) -> torch.Tensor:
        log_ratio = self.policy(batch).dist.log_prob(batch.act) - batch.logp_old
        return (log_ratio.exp() - 1 - log_ratio).mean()

    def _adapt_learning_rate(self, kl: float) -> None:
        low, high = self.learning_rate_range
        for group in private.learning_rates(self):
            if kl > 2 * self.desired_kl:
                group["lr"] = max(low, group["lr"] / 1.5)
            elif kl < self.desired_kl / 2:
                group["lr"] = min(high, group["lr"] * 1.5)

    @property
    def learning_rate(self) -> float:
        """The rate that the next update starts with."""
        return private.learning_rates(self)[0]["lr"]


class TensorA2C(TensorAdvantages, A2C):
    """Advantage actor-critic (Mnih et al. 2016, arXiv:1602.01783)."""


class TensorNPG(TensorAdvantages, NPG):
    """Natural policy gradient (Kakade 2001)."""


class TensorTRPO(TensorAdvantages, TRPO):
    """Trust region policy optimisation (Schulman et al. 2015, arXiv:1502.05477)."""
