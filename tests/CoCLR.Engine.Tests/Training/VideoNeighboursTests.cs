// Why this exists: a turn rests on these neighbours from its first step to its last.
using CoCLR.Engine.Contrastive;
using CoCLR.Engine.Contrastive.Methods;
using CoCLR.Engine.Features;
using CoCLR.Engine.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Training;

public sealed class VideoNeighboursTests
{
    private const int Videos = 40;
    private static readonly int[] Groups = [.. Enumerable.Range(0, Videos).Select(i => i / 3)];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Find_OfTwoViews_IsTheBruteForceOfOtherGroups(bool mutual)
    {
        using DisposeScope scope = NewDisposeScope();
        float[][] descriptions = [Unit(1, 6), Unit(2, 9)];
        using var neighbours = VideoNeighbours.Find(descriptions, Groups, 5, mutual, CPU);

        double Similarity(int a, int b) => descriptions.Sum(
            d => Enumerable.Range(0, d.Length / Videos).Sum(k => (double)d[(a * d.Length / Videos) + k] * d[(b * d.Length / Videos) + k]));
        int[][] expected = [
            .. Enumerable.Range(0, Videos)
                .Select(
                    a => Enumerable.Range(0, Videos).Where(b => Groups[b] != Groups[a]).OrderByDescending(b => Similarity(a, b)).Take(5)
                        .ToArray())];
        if (mutual)
        {
            expected = [.. expected.Select((near, a) => near.Where(b => expected[b].Contains(a)).ToArray())];
        }

        long[] found = neighbours.Items.data<long>().ToArray();
        Assert.Equal(expected.Select(e => e.Select(b => (long)b)), found.Chunk(5).Select(row => row.Where(b => b >= 0)));

        long[] queued = [7, -1, 0, 12, 33, 7];
        bool[] among = neighbours.Among([3, 20], tensor(queued)).data<bool>().ToArray();
        Assert.Equal([.. queued.Select(q => expected[3].Contains((int)q)), .. queued.Select(q => expected[20].Contains((int)q))], among);
    }

    [Fact]
    public void Quality_CountsLabelledPairs_BesideChanceAmongOtherGroups()
    {
        using DisposeScope scope = NewDisposeScope();
        // Two classes that lie apart: every neighbour is right.
        int[] labels = [.. Groups.Select(g => g % 2)];
        var rows = new float[Videos * 2];
        for (int i = 0; i < Videos; i++)
        {
            (rows[2 * i], rows[(2 * i) + 1]) = labels[i] == 0 ? (1f, 0f) : (0f, 1f);
        }

        using var neighbours = VideoNeighbours.Find([rows], Groups, 3, false, CPU);
        (double precision, double chance) = neighbours.Quality(labels, Groups);
        Assert.Equal(1, precision);
        int pairs = 0, same = 0;
        for (int a = 0; a < Videos; a++)
        {
            for (int b = 0; b < Videos; b++)
            {
                pairs += Groups[a] != Groups[b] ? 1 : 0;
                same += Groups[a] != Groups[b] && labels[a] == labels[b] ? 1 : 0;
            }
        }

        Assert.Equal(same / (double)pairs, chance, 1e-9);
        Assert.True(double.IsNaN(neighbours.Quality([.. Enumerable.Repeat(-1, Videos)], Groups).Precision));
    }

    [Fact]
    public void Whitened_HasEqualVarianceInEveryDirection()
    {
        using DisposeScope scope = NewDisposeScope();
        float[] values = Unit(3, 8);
        for (int i = 0; i < Videos; i++)
        {
            values[i * 8] *= 50; // one direction drowns the others
        }

        var features = new FeatureSet([.. Enumerable.Range(0, Videos).Select(i => $"{i}")], values);
        float[] white = VideoDescriptions.Whitened(features, 8);
        Tensor rows = tensor(white, [Videos, 8]);
        Assert.All(rows.square().sum(1).data<float>().ToArray(), norm => Assert.Equal(1, norm, 1e-4f));
        double Largest(float[] of) => Enumerable.Range(0, 8)
            .Max(d => Enumerable.Range(0, Videos).Sum(i => (double)of[(i * 8) + d] * of[(i * 8) + d])) / of.Sum(v => (double)v * v);
        Assert.True(Largest(values) > 0.95);
        Assert.True(Largest(white) < 0.25);
        Assert.Equal(3 * Videos, VideoDescriptions.Whitened(features, 3).Length);
    }

    [Fact]
    public void CoClr_OfNeighbours_TakesTheirEntriesAsPositives()
    {
        using DisposeScope scope = NewDisposeScope();
        const int Batch = 3;
        const int Length = 6;
        using var queue = new KeyQueue(4, Length);
        queue.Enqueue(Rows(Length, 1), null, tensor(new long[] { 5, 6, 7, 8, 0, 9 }), tensor(new long[] { 0, 1, 0, 1, 0, 1 }), 2);
        Tensor neighbours = tensor(
            new[]
            {
                true, false, true, false, false, false, false, true, false, false, false, true, false, false, false, false, false, false
            },
            [Batch, Length]);
        Tensor query = Rows(Batch, 3);
        MethodStep made = new CoClr().Learn(new Comparison
        {
            First = new ViewEmbeddings(query, Rows(Batch, 4), queue.Keys),
            Neighbours = neighbours,
            Queue = queue,
            Groups = tensor(new long[] { 0, 1, 2 }),
            Labels = tensor(new long[] { 0, 0, 1 }),
            Temperature = 0.1,
            MasksSelf = true,
            Step = 5,
        });

        // Row 0: two neighbours and its sibling (source video 0); row 1: two neighbours; row 2: nothing but its own key.
        bool[] expected =
        [
            true, true, false, true, false, true, false,
            true, false, true, false, false, false, true,
            true, false, false, false, false, false, false,
        ];
        Assert.Equal(expected, made.Positives.data<bool>().ToArray());
        Tensor targets = tensor(expected, [Batch, 1 + Length]).clone();
        targets[0, 0] = false;
        targets[1, 0] = false;
        Assert.Equal(CoClr.Loss(made.Logits, targets).item<float>(), made.Loss.item<float>(), 1e-6f);
        Assert.Equal(0.5, made.Mined!.Precision.item<double>(), 1e-9); // right: 0 and 2 for row 0; wrong: 1 and 5 for row 1
        Assert.Equal(3, made.Mined.MeanAge.item<double>(), 1e-9);
        Assert.InRange(made.Mined.Agreement.item<double>(), 0, 1);
    }

    private static Tensor Rows(int count, long seed) =>
        nn.functional.normalize(randn(count, 4, generator: new Generator((ulong)seed, CPU)), 2, 1);

    private static float[] Unit(long seed, int width)
    {
        var random = new CounterRandom(seed);
        var values = new float[Videos * width];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)random.Uniform(-1, 1);
        }

        for (int i = 0; i < Videos; i++)
        {
            FeatureSet.Normalize(values.AsSpan(i * width, width));
        }

        return values;
    }
}
