// Why this exists: masks, losses, gradients and queues must be the reference's in every recorded case.
using System.Text.Json;
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Contrastive;

public sealed class LossesGoldenTests
{
    private const double Tolerance = 1e-5;

    public static TheoryData<string> Cases() => GoldenFolder.Cases("losses");

    [Theory]
    [MemberData(nameof(Cases))]
    public void InfoNceGolden_Case_Matches(string name)
    {
        using var scope = NewDisposeScope();
        var (golden, t, _) = Open(name);
        var (raw, query) = Query(golden);
        var logits = ContrastiveLogits.Of(query, golden.Tensor("k"), golden.Tensor("queue"), t);
        Assert.InRange(Close.AbsoluteError(logits, golden.Tensor("logits")), 0, 1e-4);
        var expected = golden.Root.GetProperty("expected").GetProperty("infonce");
        var loss = InfoNce.Loss(logits);
        CheckLoss(expected.GetProperty("loss"), loss);
        loss.backward();
        Assert.InRange(Close.AbsoluteError(raw.grad!, golden.Tensor("infonce_dq_raw")), 0, Tolerance);
        var mask = InfoNce.Positives(logits);
        var accuracy = PretextMetrics.Accuracy(logits, mask);
        Assert.Equal(expected.GetProperty("top1").GetDouble(), accuracy.Top1.item<float>(), 1e-6);
        Assert.Equal(expected.GetProperty("top5").GetDouble(), accuracy.Top5.item<float>(), 1e-6);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void UberNceGolden_Case_Matches(string name)
    {
        using var scope = NewDisposeScope();
        var (golden, t, meta) = Open(name);
        var (raw, query) = Query(golden);
        var logits = ContrastiveLogits.Of(query, golden.Tensor("k"), golden.Tensor("queue"), t);
        var mask = UberNce.Positives(golden.Tensor("label"), golden.Tensor("queue_label"));
        Assert.True(Close.Same(mask, golden.Tensor("ubernce_mask").to_type(ScalarType.Bool)));
        var expected = golden.Root.GetProperty("expected").GetProperty("ubernce");
        var loss = UberNce.Loss(logits, mask);
        CheckLoss(expected.GetProperty("loss"), loss);
        loss.backward();
        Assert.InRange(Close.AbsoluteError(raw.grad!, golden.Tensor("ubernce_dq_raw")), 0, Tolerance);
        var accuracy = PretextMetrics.Accuracy(logits, mask);
        Assert.Equal(expected.GetProperty("top1").GetDouble(), accuracy.Top1.item<float>(), 1e-6);
        Assert.Equal(expected.GetProperty("top5").GetDouble(), accuracy.Top5.item<float>(), 1e-6);

        using var queue = Queue(golden, meta, second: false);
        queue.Enqueue(golden.Tensor("k"), labels: golden.Tensor("label"));
        Assert.True(Close.Same(queue.Labels, golden.Tensor("queue_label_after_ubernce")));
        Assert.InRange(Close.AbsoluteError(queue.Keys, golden.Tensor("queue_after")), 0, Tolerance);
        Assert.Equal(golden.Root.GetProperty("expected").GetProperty("infonce").GetProperty("ptr_after").GetInt32(), queue.Next);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void CoClrGolden_Case_Matches(string name)
    {
        using var scope = NewDisposeScope();
        var (golden, t, meta) = Open(name);
        var expected = golden.Root.GetProperty("expected").GetProperty("coclr");
        using var queue = Queue(golden, meta, second: true);
        Assert.Equal(expected.GetProperty("queue_is_full").GetBoolean(), queue.IsFull);
        var second = golden.Tensor("kf").matmul(queue.SecondKeys!);
        var mask = CoClr.Positives(golden.Tensor("vname"), queue.Videos, second, meta.GetProperty("topk").GetInt32(), queue.IsFull);
        Assert.True(Close.Same(mask, golden.Tensor("coclr_mask").to_type(ScalarType.Bool)));

        foreach (var (masked, lossName, gradient) in new[] { (false, "loss_with_self", "coclr_dq_raw_with_self"), (true, "loss_self_masked", "coclr_dq_raw_self_masked") })
        {
            var (raw, query) = Query(golden);
            var logits = ContrastiveLogits.Of(query, golden.Tensor("k"), queue.Keys, t);
            var loss = CoClr.Loss(logits, masked ? PositiveMask.WithoutOwnKey(mask) : mask);
            CheckLoss(expected.GetProperty(lossName), loss);
            loss.backward();
            Assert.InRange(Close.AbsoluteError(raw.grad!, golden.Tensor(gradient)), 0, Tolerance);
            var accuracy = PretextMetrics.Accuracy(logits, mask);
            Assert.Equal(expected.GetProperty("top1").GetDouble(), accuracy.Top1.item<float>(), 1e-6);
            Assert.Equal(expected.GetProperty("top5").GetDouble(), accuracy.Top5.item<float>(), 1e-6);
            Assert.Equal(expected.GetProperty("self_top1").GetDouble(), accuracy.SelfTop1.item<float>(), 1e-6);
            Assert.Equal(expected.GetProperty("self_top5").GetDouble(), accuracy.SelfTop5.item<float>(), 1e-6);
        }

        queue.Enqueue(golden.Tensor("k"), golden.Tensor("kf"), golden.Tensor("vname"), golden.Tensor("label"));
        Assert.InRange(Close.AbsoluteError(queue.Keys, golden.Tensor("queue_after")), 0, Tolerance);
        Assert.InRange(Close.AbsoluteError(queue.SecondKeys!, golden.Tensor("queue_second_after")), 0, Tolerance);
        Assert.True(Close.Same(queue.Videos, golden.Tensor("queue_vname_after")));
        Assert.Equal(golden.Tensor("queue_label_after_coclr").ne(-1).sum().item<long>(), queue.Count);
        Assert.Equal(expected.GetProperty("ptr_after").GetInt32(), queue.Next);
    }

    [Fact]
    public void MomentumGolden_OneAndThreeUpdates_Match()
    {
        using var scope = NewDisposeScope();
        var golden = new GoldenCase(GoldenFolder.Require("momentum"));
        var key = golden.Tensor("param_k");
        var query = golden.Tensor("param_q");
        var m = golden.Root.GetProperty("m").GetDouble();
        Engine.Training.Optimization.ParameterKernels.MomentumUpdate(key, query, m);
        Assert.InRange(Close.AbsoluteError(key, golden.Tensor("param_k_after_1")), 0, 1e-6);
        Engine.Training.Optimization.ParameterKernels.MomentumUpdate(key, query, m);
        Engine.Training.Optimization.ParameterKernels.MomentumUpdate(key, query, m);
        Assert.InRange(Close.AbsoluteError(key, golden.Tensor("param_k_after_3")), 0, 1e-6);
    }

    private static (GoldenCase Case, double Temperature, JsonElement Meta) Open(string name)
    {
        var golden = new GoldenCase(GoldenFolder.Require(Path.Combine("losses", name)));
        var meta = golden.Root.GetProperty("meta");
        return (golden, meta.GetProperty("T").GetDouble(), meta);
    }

    private static (Tensor Raw, Tensor Unit) Query(GoldenCase golden)
    {
        var raw = golden.Tensor("q_raw").requires_grad_();
        return (raw, nn.functional.normalize(raw, 2, 1));
    }

    private static void CheckLoss(JsonElement expected, Tensor loss) => Assert.Equal(expected.GetDouble(), loss.item<float>(), Tolerance * Math.Max(1, Math.Abs(expected.GetDouble())));

    private static KeyQueue Queue(GoldenCase golden, JsonElement meta, bool second)
    {
        var keys = golden.Tensor("queue");
        var queue = new KeyQueue((int)keys.shape[0], (int)keys.shape[1], second);
        var state = new Dictionary<string, Tensor>
        {
            ["keys"] = keys,
            ["videos"] = golden.Tensor("queue_vname"),
            ["labels"] = golden.Tensor("queue_label"),
            ["written_at"] = zeros(keys.shape[1], ScalarType.Int64),
            ["pointer"] = tensor(meta.GetProperty("ptr_before").GetInt64()),
            ["count"] = tensor(meta.GetProperty("filled").GetInt64()),
        };
        if (second)
        {
            state["second_keys"] = golden.Tensor("queue_second");
        }

        queue.Load(state);
        return queue;
    }
}
