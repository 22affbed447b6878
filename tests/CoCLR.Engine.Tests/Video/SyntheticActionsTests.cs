// Why this exists: the synthetic set is evidence only if its classes differ in motion and in nothing else.
using System.IO.Hashing;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Engine.Video.Store;
using CoCLR.Engine.Video.Synthetic;

namespace CoCLR.Engine.Tests.Video;

public sealed class SyntheticActionsTests : IDisposable
{
    private const int Size = 32;
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Create_Files_AreALosslessDataSetInTheLayoutOfUcf101()
    {
        var options = new SyntheticSource { Classes = 3, TrainGroups = 2, TestGroups = 1, GroupSize = 2, Frames = 8, Size = Size };
        var progress = new List<int>();
        SyntheticActions.Create(
            options, _folder.File("50% synth"), new Collect(step => progress.Add(step.Done)), TestContext.Current.CancellationToken);
        Assert.Equal(Enumerable.Range(1, 9).Select(group => 2 * group), progress);

        var catalogue = VideoCatalogue.Open(new CatalogueOptions { Root = _folder.File("50% synth") });
        Assert.Equal(DatasetLayout.Ucf101, catalogue.Layout);
        Assert.Equal(SyntheticActions.Classes(options), catalogue.Classes);
        Assert.Equal(9, catalogue.Groups);
        Assert.Equal(12, catalogue.Videos.Count(video => video.Split == VideoSplit.Train));
        Assert.Empty(catalogue.Videos.Where(video => video.Split == VideoSplit.Train).Select(video => video.Group)
            .Intersect(catalogue.Videos.Where(video => video.Split == VideoSplit.Test).Select(video => video.Group)));

        using var store = ClipDecoder.Prepare(
            catalogue, new DecodeSettings { ShortSide = Size }, _folder.File("cache"), null, TestContext.Current.CancellationToken);
        Assert.Equal(18, store.Count);
        for (var i = 0; i < store.Count; i += 5)
        {
            var name = Path.GetFileNameWithoutExtension(store.Videos[i].Id).Split('_');
            var drawn = SyntheticClip.Draw(options, Enum.Parse<SyntheticMotion>(name[1]), int.Parse(name[2][1..]), int.Parse(name[3][1..]));
            Assert.Equal(8, store.Videos[i].Frames);
            // Brightness is kept at full resolution, colour at half.
            var decoded = store.Frames(i).ToArray();
            Assert.True(MeanDifference(Gray(drawn), Gray(decoded)) < 2.5, store.Videos[i].Id);
        }
    }

    [Fact]
    public void Create_Again_MakesOnlyWhatIsMissing()
    {
        var options = new SyntheticSource { Classes = 2, TrainGroups = 1, TestGroups = 1, GroupSize = 1, Frames = 8, Size = Size };
        var folder = _folder.File("synth");
        SyntheticActions.Create(options, folder, null, TestContext.Current.CancellationToken);
        var victim = Path.Combine(folder, SyntheticActions.FileOf(SyntheticMotion.Spin, 2, 1));
        var bytes = File.ReadAllBytes(victim);
        File.Delete(victim);
        var made = 0;
        SyntheticActions.Create(options, folder, new Collect(_ => made++), TestContext.Current.CancellationToken);
        Assert.Equal(1, made);
        Assert.Equal(bytes, File.ReadAllBytes(victim));

        var error = Assert.Throws<UserErrorException>(
            () => SyntheticActions.Create(options with { Seed = 1 }, folder, null, TestContext.Current.CancellationToken));
        Assert.Equal(ExitCodes.BadConfiguration, error.ExitCode);
        error = Assert.Throws<UserErrorException>(
            () => SyntheticActions.Create(options, _folder.Path, null, TestContext.Current.CancellationToken));
        Assert.Equal(ExitCodes.BadConfiguration, error.ExitCode);
    }

    [Fact]
    public void Draw_ByTheSameOptions_GivesTheSameBytesOnEveryMachine()
    {
        var options = new SyntheticSource { Frames = 16, Size = 48, Seed = 42 };
        var hash = new XxHash3();
        foreach (var motion in Enum.GetValues<SyntheticMotion>())
        {
            hash.Append(SyntheticClip.Draw(options, motion, 3, 2));
        }

        // Taken once; a change here changes everybody's data set: raise the version of the generator with it.
        Assert.Equal("d4df12476cecba76", ClipStore.Hex(hash.GetCurrentHashAsUInt64()));
    }

    [Fact]
    public void Draw_SiblingsAndSeeds_DifferAsTheyShould()
    {
        var options = new SyntheticSource { Frames = 8, Size = Size };
        var clip = SyntheticClip.Draw(options, SyntheticMotion.Circle, 1, 1);
        Assert.NotEqual(clip, SyntheticClip.Draw(options, SyntheticMotion.Circle, 1, 2));
        Assert.NotEqual(clip, SyntheticClip.Draw(options with { Seed = 1 }, SyntheticMotion.Circle, 1, 1));

        // Two strangers may be alike by chance; ten of them are not.
        double siblings = 0, strangers = 0;
        for (var group = 1; group <= 10; group++)
        {
            clip = SyntheticClip.Draw(options, SyntheticMotion.Circle, group, 1);
            siblings += ColourDistance(clip, SyntheticClip.Draw(options, SyntheticMotion.Circle, group, 2));
            strangers += ColourDistance(clip, SyntheticClip.Draw(options, SyntheticMotion.Circle, group + 1, 1));
        }

        Assert.True(siblings < strangers / 2);
    }

    [Fact]
    public void SingleFrames_Probed_AreAtChanceWhileMotionIsNot()
    {
        var options = new SyntheticSource { Frames = 24, Size = Size, TrainGroups = 40, TestGroups = 20, GroupSize = 1, Seed = 5 };
        var clips = new (int Label, bool Train, byte[] Rgb)[options.Classes * 60];
        Parallel.For(0, clips.Length, i =>
        {
            var (label, group) = (i / 60, (i % 60) + 1);
            clips[i] = (label, group <= options.TrainGroups, SyntheticClip.Draw(options, (SyntheticMotion)label, group, 1));
        });

        var stills = clips.Select((clip, i) => (clip.Label, clip.Train, Feature: Still(clip.Rgb, i % options.Frames))).ToList();
        var motions = clips.Select(clip => (clip.Label, clip.Train, Feature: Motion(clip.Rgb, options.Frames))).ToList();

        const double Chance = 1.0 / 8;
        var noise = Math.Sqrt(Chance * (1 - Chance) / (8 * options.TestGroups));
        Assert.InRange(NearestNeighbour(stills), Chance - (4 * noise), Chance + (4 * noise));
        Assert.InRange(Logistic(stills), Chance - (4 * noise), Chance + (4 * noise));
        Assert.True(NearestNeighbour(motions) > Chance + (10 * noise), $"motion: {NearestNeighbour(motions):P0}");
    }

    [Fact]
    public void Sine_OverTheCircle_IsThatOfTheLibrary()
    {
        for (var i = -2000; i < 2000; i++)
        {
            Assert.Equal(Math.Sin(2 * Math.PI * i / 777.0), SyntheticTrajectory.Sine(i / 777.0), 1e-7);
        }
    }

    // A single frame, 8 x 8 pixels, all colours.
    private static double[] Still(byte[] rgb, int frame)
    {
        const int Cell = Size / 8;
        var still = new double[8 * 8 * 3];
        for (var p = 0; p < Size * Size; p++)
        {
            for (var c = 0; c < 3; c++)
            {
                still[
                    ((((p / Size / Cell) * 8) + (p % Size / Cell)) * 3)
                        + c] += rgb[(((frame * Size * Size) + p) * 3) + c] / (255.0 * Cell * Cell);
            }
        }

        return still;
    }

    // How the place and the size of what differs from the clip's median picture change over time.
    private static double[] Motion(byte[] rgb, int frames)
    {
        var gray = Gray(rgb);
        var pixels = Size * Size;
        var (x, y, mass) = (new double[frames], new double[frames], new double[frames]);
        var column = new double[frames];
        for (var p = 0; p < pixels; p++)
        {
            for (var t = 0; t < frames; t++)
            {
                column[t] = gray[(t * pixels) + p];
            }

            var median = column.Order().ElementAt(frames / 2);
            for (var t = 0; t < frames; t++)
            {
                var weight = Math.Abs(column[t] - median) > 25 ? 1 : 0;
                mass[t] += weight;
                x[t] += weight * (p % Size);
                y[t] += weight * (p / Size);
            }
        }

        for (var t = 0; t < frames; t++)
        {
            x[t] /= Math.Max(1, mass[t]);
            y[t] /= Math.Max(1, mass[t]);
        }

        return
        [
            Math.Log(1 + Deviation(x)), Math.Log(1 + Deviation(y)), Math.Abs(Correlation(x, y, 0)),
            Math.Abs(Correlation(x, y, 4)) - Math.Abs(Correlation(x, y, 0)), Math.Log(1 + mass.Average()) / 4,
        ];
    }

    private static double Deviation(double[] series) =>
        Math.Sqrt(series.Sum(value => Math.Pow(value - series.Average(), 2)) / series.Length);

    private static double Correlation(double[] a, double[] b, int lag)
    {
        var (meanA, meanB) = (a.Average(), b.Average());
        var sum = Enumerable.Range(0, a.Length - lag).Sum(t => (a[t] - meanA) * (b[t + lag] - meanB)) / (a.Length - lag);
        return sum / ((Deviation(a) * Deviation(b)) + 0.5);
    }

    private static double NearestNeighbour(List<(int Label, bool Train, double[] Feature)> samples)
    {
        var train = samples.Where(sample => sample.Train).ToList();
        var test = samples.Where(sample => !sample.Train).ToList();
        return test.Average(query => train.MinBy(candidate => Distance(candidate.Feature, query.Feature)).Label == query.Label ? 1.0 : 0.0);
    }

    private static double Logistic(List<(int Label, bool Train, double[] Feature)> samples)
    {
        var size = samples[0].Feature.Length;
        var weights = new double[8, size + 1];
        double[] Scores(double[] feature)
        {
            var scores = new double[8];
            for (var label = 0; label < 8; label++)
            {
                scores[label] = weights[label, size];
                for (var i = 0; i < size; i++)
                {
                    scores[label] += weights[label, i] * feature[i];
                }
            }

            return scores;
        }

        var random = new CounterRandom(1, CounterRandom.Purpose("logistic"));
        var train = samples.Where(sample => sample.Train).ToArray();
        for (var epoch = 0; epoch < 40; epoch++)
        {
            random.Shuffle<(int, bool, double[])>(train);
            foreach (var (truth, _, feature) in train)
            {
                var scores = Scores(feature);
                var exponentials = scores.Select(score => Math.Exp(score - scores.Max())).ToArray();
                for (var label = 0; label < 8; label++)
                {
                    var step = 0.03 * ((label == truth ? 1 : 0) - (exponentials[label] / exponentials.Sum()));
                    for (var i = 0; i < size; i++)
                    {
                        weights[label, i] += step * feature[i];
                    }

                    weights[label, size] += step;
                }
            }
        }

        return samples.Where(sample => !sample.Train).Average(sample =>
        {
            var scores = Scores(sample.Feature);
            return Array.IndexOf(scores, scores.Max()) == sample.Label ? 1.0 : 0.0;
        });
    }

    private static double Distance(double[] a, double[] b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Length; i++)
        {
            sum += (a[i] - b[i]) * (a[i] - b[i]);
        }

        return sum;
    }

    private static double[] Gray(byte[] rgb)
    {
        var gray = new double[rgb.Length / 3];
        for (var p = 0; p < gray.Length; p++)
        {
            gray[p] = (0.299 * rgb[3 * p]) + (0.587 * rgb[(3 * p) + 1]) + (0.114 * rgb[(3 * p) + 2]);
        }

        return gray;
    }

    private static double MeanDifference(double[] a, double[] b) => a.Zip(b).Average(pair => Math.Abs(pair.First - pair.Second));

    private static double ColourDistance(byte[] a, byte[] b) =>
        Enumerable.Range(0, 3).Sum(c => Math.Abs(Mean(a, c) - Mean(b, c)));

    private static double Mean(byte[] rgb, int channel) => Enumerable.Range(0, rgb.Length / 3).Average(p => rgb[(3 * p) + channel]);

    private sealed class Collect(Action<SyntheticProgress> then) : IProgress<SyntheticProgress>
    {
        public void Report(SyntheticProgress value) => then(value);
    }
}
