// Why this exists: each loss and the mining numbers must be their formulas, written out as plain loops, for any shape; no recorded numbers
// are needed.
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Contrastive;

public sealed class LossesTests
{
    private const double T = 0.07;

    public static TheoryData<int, int, int, int> Shapes() => new()
    {
        { 1, 4, 3, 1 },
        { 4, 8, 16, 2 },
        { 6, 16, 40, 5 },
        { 5, 8, 7, 7 },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void SingleViewLosses_AreTheirFormulas(int batch, int dim, int length, int topK)
    {
        using var scope = NewDisposeScope();
        var s = new Sample(batch, dim, length);
        var logits = ContrastiveLogits.Of(s.Query, s.Key, s.Queue, T);
        var slow = SlowReference.Logits(Rows(s.Query), Rows(s.Key), Rows(s.Queue.t()), T);
        Near(SlowReference.InfoNce(slow), InfoNce.Loss(logits));

        var labelled = UberNce.Positives(s.Labels, s.QueueLabels);
        Near(SlowReference.UberNce(slow, Booleans(labelled)), UberNce.Loss(logits, labelled));

        foreach (var full in new[] { true, false })
        {
            var mined = CoClr.Positives(s.Videos, s.QueueVideos, s.SecondSimilarity, topK, full);
            var expected = SlowReference.CoClrMask(Longs(s.Videos), Longs(s.QueueVideos), Rows(s.SecondSimilarity), topK, full);
            Assert.Equal(expected, Booleans(mined));
            Near(SlowReference.CoClr(slow, expected), CoClr.Loss(logits, mined));
        }
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Cmc_IsInfoNceOfEachViewAgainstTheOthersKeys_WithGradientsToBothQueriesOnly(int batch, int dim, int length, int topK)
    {
        _ = topK;
        using var scope = NewDisposeScope();
        var (rgb, flow) = (new Sample(batch, dim, length), new Sample(batch, dim, length, seed: 77));
        foreach (var tensor in new[] { rgb.Query, flow.Query, rgb.Key, flow.Key })
        {
            tensor.requires_grad = true;
        }

        var rgbLogits = ContrastiveLogits.Of(rgb.Query, flow.Key, flow.Queue, T);
        var flowLogits = ContrastiveLogits.Of(flow.Query, rgb.Key, rgb.Queue, T);
        var loss = Cmc.Loss(rgbLogits, flowLogits);
        var slowRgb = SlowReference.Logits(Rows(rgb.Query), Rows(flow.Key), Rows(flow.Queue.t()), T);
        var slowFlow = SlowReference.Logits(Rows(flow.Query), Rows(rgb.Key), Rows(rgb.Queue.t()), T);
        Near(SlowReference.InfoNce(slowRgb) + SlowReference.InfoNce(slowFlow), loss);
        Assert.Equal([batch, 1 + length], rgbLogits.shape);
        Assert.Equal([batch, 1 + length], flowLogits.shape);
        loss.backward();
        Assert.True(rgb.Query.grad!.abs().sum().item<float>() > 0 && flow.Query.grad!.abs().sum().item<float>() > 0);
        Assert.True(rgb.Key.grad is null && flow.Key.grad is null);
    }

    // With batch negatives the queue holds the batch already: every loss is that of a queue without the clip's own entry.
    [Theory]
    [MemberData(nameof(Shapes))]
    public void Losses_WithTheOwnEntryExcluded_AreThoseOfTheOtherEntries(int batch, int dim, int length, int topK)
    {
        using var scope = NewDisposeScope();
        var s = new Sample(batch, dim, length);
        batch = Math.Min(batch, length);
        using var queue = new KeyQueue(dim, length);
        var first = length - batch;
        for (var i = 0; i < first; i++)
        {
            queue.Enqueue(s.Queue.narrow(1, i, 1).t());
        }

        var own = queue.OwnColumns(batch);
        Assert.Equal(
            [.. Enumerable.Range(0, batch).Select(i => (long)first + i)], own.to(ScalarType.Int64).argmax(1).data<long>().ToArray());
        var (query, key) = (s.Query.narrow(0, 0, batch).detach().requires_grad_(), s.Key.narrow(0, 0, batch));
        queue.Enqueue(key);
        var logits = ContrastiveLogits.Of(query, key, queue.Keys, T, own);
        var columns = Rows(queue.Keys.t());
        var labelled = PositiveMask.Without(UberNce.Positives(s.Labels.narrow(0, 0, batch), s.QueueLabels), own);
        var mined = PositiveMask.Without(
            CoClr.Positives(s.Videos.narrow(0, 0, batch), s.QueueVideos, s.SecondSimilarity.narrow(0, 0, batch), topK, true), own);
        double infoNce = 0, uberNce = 0, coClr = 0;
        for (var i = 0; i < batch; i++)
        {
            var meets = first + i;
            var slow = SlowReference.Logits([Rows(query)[i]], [Rows(key)[i]], [.. columns.Where((_, j) => j != meets)], T);
            bool[] Others(Tensor mask) => [.. Booleans(mask)[i].Where((_, j) => j != meets + 1)];
            infoNce += SlowReference.InfoNce(slow) / batch;
            uberNce += SlowReference.UberNce(slow, [Others(labelled)]) / batch;
            coClr += SlowReference.CoClr(slow, [Others(mined)]) / batch;
        }

        Near(infoNce, InfoNce.Loss(logits));
        Near(uberNce, UberNce.Loss(logits, labelled));
        Near(coClr, CoClr.Loss(logits, mined));
        (InfoNce.Loss(logits) + UberNce.Loss(logits, labelled) + CoClr.Loss(logits, mined)).backward();
        Assert.True(query.grad!.isfinite().all().item<bool>());
    }

    [Fact]
    public void Mining_OnAKnownQueue_GivesPrecisionAgreementAndAge()
    {
        using var scope = NewDisposeScope();
        using var queue = new KeyQueue(dim: 2, length: 6, second: true);
        // Videos 10..15, labels 0 0 1 1 2 and unknown, written at steps 1 to 6.
        for (var i = 0; i < 6; i++)
        {
            queue.Enqueue(zeros(1, 2), zeros(1, 2), tensor(new long[] { 10 + i }), tensor(new long[] { i == 5 ? -1 : i / 2 }), step: i + 1);
        }

        // Anchor 0 is of video 10 and label 0: its sibling, column 0, may not be mined although it is the most similar.
        var second = tensor(new float[,] { { 9, 8, 7, 0, 0, 0 }, { 0, 0, 0, 5, 6, 7 } });
        var first = tensor(new float[,] { { 0, 9, 0, 0, 8, 0 }, { 0, 0, 0, 0, 6, 9 } });
        var mining =
            PretextMetrics.Mining(first, second, tensor(new long[] { 10, 99 }), tensor(new long[] { 0, 2 }), queue, topK: 2, step: 10);
        Assert.Equal([1L, 2, 5, 4], mining.Columns!.data<long>().ToArray());
        Assert.Equal(2.0 / 3, mining.Precision.item<double>(), 1e-12); // column 1 right, 2 wrong, 4 right; 5 is unknown and does not count
        Assert.Equal((0.5 + 1) / 2, mining.Agreement.item<double>(), 1e-12); // anchor 0 shares column 1, anchor 1 both
        Assert.Equal(((10 - 2) + (10 - 3) + (10 - 6) + (10 - 5)) / 4.0, mining.MeanAge.item<double>(), 1e-12);

        var unlabelled =
            PretextMetrics.Mining(first, second, tensor(new long[] { 10, 99 }), tensor(new long[] { -1, -1 }), queue, topK: 2, step: 10);
        Assert.True(double.IsNaN(unlabelled.Precision.item<double>()));
        Assert.Equal(mining.Agreement.item<double>(), unlabelled.Agreement.item<double>());
    }

    // The logits hold the queue itself: a backward pass after the queue has changed would give wrong gradients, so it must not pass in
    // silence.
    [Fact]
    public void Backward_AfterTheQueueHasChanged_Throws()
    {
        using var scope = NewDisposeScope();
        var s = new Sample(4, 8, 16);
        using var queue = new KeyQueue(8, 16);
        var query = s.Query.detach().requires_grad_();
        var loss = InfoNce.Loss(ContrastiveLogits.Of(query, s.Key, queue.Keys, T));
        queue.Enqueue(s.Key);
        Assert.Contains(
            "modified by an inplace operation", Assert.ThrowsAny<Exception>(() => loss.backward()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Enqueue_OverTheEnd_IsRefused()
    {
        using var scope = NewDisposeScope();
        using var queue = new KeyQueue(8, 10);
        queue.Enqueue(zeros(4, 8));
        queue.Enqueue(zeros(4, 8));
        Assert.Throws<ArgumentException>(() => queue.Enqueue(zeros(4, 8)));
        Assert.Throws<ArgumentException>(() => queue.OwnColumns(4));
    }

    private static void Near(double expected, Tensor loss) =>
        Assert.Equal(expected, loss.item<float>(), 1e-4 * Math.Max(1, Math.Abs(expected)));

    private static double[][] Rows(Tensor matrix)
    {
        var (rows, columns) = ((int)matrix.shape[0], (int)matrix.shape[1]);
        var values = matrix.detach().contiguous().to_type(ScalarType.Float64).data<double>().ToArray();
        return [.. Enumerable.Range(0, rows).Select(i => values[(i * columns)..((i + 1) * columns)])];
    }

    private static bool[][] Booleans(Tensor mask) =>
        [.. Rows(mask.to_type(ScalarType.Float64)).Select(row => row.Select(x => x > 0).ToArray())];

    private static long[] Longs(Tensor vector) => vector.data<long>().ToArray();

    /// <summary>Random unit vectors, videos and labels that meet now and then.</summary>
    private sealed class Sample
    {
        public Sample(int batch, int dim, int length, ulong seed = 7)
        {
            using var generator = new Generator(seed);
            Tensor Unit(long rows) => nn.functional.normalize(randn([rows, dim], generator: generator), 2, 1);
            (Query, Key, Queue) = (Unit(batch), Unit(batch), Unit(length).t().contiguous());
            SecondSimilarity = Unit(batch).matmul(Unit(length).t());
            Tensor Numbers(long count, long high) => randint(0, high, [count], ScalarType.Int64, generator: generator);
            (Videos, QueueVideos, Labels) = (Numbers(batch, 6), Numbers(length, 9), Numbers(batch, 3));
            QueueLabels = Numbers(length, 4) - 1; // -1: unknown
        }

        public Tensor Query { get; }

        public Tensor Key { get; }

        public Tensor Queue { get; }

        public Tensor SecondSimilarity { get; }

        public Tensor Videos { get; }

        public Tensor QueueVideos { get; }

        public Tensor Labels { get; }

        public Tensor QueueLabels { get; }
    }
}
