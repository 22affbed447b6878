// Why this exists: every way a manifest can be wrong gives one sentence that names the field and the fix.
using CoCLR.Core.Manifests;
using CoCLR.Core.Manifests.Schema;

namespace CoCLR.Core.Tests.Manifests;

public sealed class ManifestReaderTests
{
    private const string Minimal = """
        apiVersion: coclr.dev/v1alpha1
        kind: CoCLRExperiment
        metadata:
          name: first
        spec:
          dataset:
            source:
              synthetic: {}
        """;

    [Fact]
    public void Minimal_Reads_WithThePapersDefaults()
    {
        var reading = ManifestReader.ReadExperiment(Minimal);
        Assert.Empty(reading.Problems);
        ExperimentSpec spec = reading.Manifest!.Spec;
        Assert.Equal(Method.CoCLR, spec.Training.Method);
        Assert.Equal([View.Rgb, View.Flow], spec.Views);
        Assert.Equal((300, 32, 2048, 5), (spec.Training.Epochs, spec.Training.BatchSize, spec.Training.QueueSize, spec.Cotrain.TopK));
        Assert.Equal(0.07, Decimals.Parse(spec.Training.Temperature));
    }

    // flow.bound once was a whole number: manifests, stored resources and plans still have it so.
    [Theory]
    [InlineData("20", "20")]
    [InlineData("\"4.5\"", "4.5")]
    [InlineData("auto", "auto")]
    public void FlowBound_AsANumberOrAString_IsRead(string written, string read)
    {
        var reading = ManifestReader.ReadExperiment(Minimal + $"\n  flow: {{bound: {written}}}");
        Assert.Empty(reading.Problems);
        Assert.Equal(read, reading.Manifest!.Spec.Flow.Bound);
    }

    [Theory]
    [InlineData("  training: {metod: InfoNCE}", "spec.training.metod", "did you mean 'method'?")]
    [InlineData("  trainning: {}", "spec.trainning", "did you mean 'training'?")]
    [InlineData("  training: {method: infonce}", "spec.training.method", "did you mean 'InfoNCE'?")]
    [InlineData("  training: {epochs: many}", "spec.training.epochs", "must be a whole number")]
    [InlineData("  training: {epochs: 1.5}", "spec.training.epochs", "must be a whole number")]
    [InlineData("  training: {epochs: -1}", "spec.training.epochs", "out of range")]
    [InlineData("  training: {temperature: 0.07}", "spec.training.temperature", "in quotes")]
    [InlineData("  training: {temperature: \"warm\"}", "spec.training.temperature", "not a decimal number")]
    [InlineData("  training: {temperature: \"0\"}", "spec.training.temperature", "out of range")]
    [InlineData("  training: []", "spec.training", "must be a group of fields")]
    [InlineData("  views: RGB", "spec.views", "must be a list")]
    [InlineData("  views: [RGB, RGB]", "spec.views[1]", "given twice")]
    [InlineData("  views: [RGB]", "spec.views", "CoCLR needs both views")]
    [InlineData("  training: {batchSize: 64, queueSize: 32}", "spec.training.batchSize", "must not be larger")]
    [InlineData("  training: {batchSize: 48, queueSize: 64}", "spec.training.queueSize", "multiple of training.batchSize")]
    [InlineData("  training: {batchNormGroups: 3}", "spec.training.batchNormGroups", "multiple")]
    [InlineData("  training: {batchSize: 32, shards: 8, batchNormGroups: 8}", "spec.training.batchNormGroups", "multiple")]
    [InlineData("  training: {batchSize: 24, queueSize: 2040, shards: 16}", "spec.training.shards", "multiple")]
    [InlineData("  training: {batchSize: 24, queueSize: 2040, shards: 3}", "spec.training.shards", "power of two")]
    [InlineData("  cotrain: {mineIn: features, order: simultaneous}", "spec.cotrain.mineIn", "alternating")]
    [InlineData("  cotrain: {topK: 1024}\n  training: {queueSize: 1024}", "spec.cotrain.topK", "smaller than")]
    [InlineData("  cotrain: {mineAmong: videos, order: simultaneous}", "spec.cotrain.mineAmong", "alternating")]
    [InlineData("  cotrain: {whiten: 64}", "spec.cotrain.mineAmong", "need cotrain.mineAmong: videos")]
    [InlineData("  cotrain: {queueSize: 1000}", "spec.cotrain.queueSize", "multiple of training.batchSize")]
    [InlineData("  cotrain: {topK: 64, queueSize: 64}", "spec.cotrain.topK", "smaller than the queue of the turns")]
    [InlineData("  flow: {bound: \"-1\"}", "spec.flow.bound", "auto or a number")]
    [InlineData("  flow: {bound: -1}", "spec.flow.bound", "auto or a number")]
    [InlineData("  flow: {bound: 4.5}", "spec.flow.bound", "in quotes")]
    [InlineData("  device: tpu", "spec.device", "auto, cpu, cuda or cuda:N")]
    [InlineData("  env: [{name: COCLR_X, value: a}]", "spec.env[0].name", "reserved")]
    [InlineData("  env: [{name: A}]", "spec.env[0]", "exactly one of value")]
    [InlineData("  suspend: maybe", "spec.suspend", "must be true or false")]
    [InlineData("  training: {method: InfoNCE, epochs: 100, optimizer: {milestones: [80, 100]}}", "spec.training.optimizer.milestones", "milestone 100 lies beyond the 100 epochs of RGB")]
    [InlineData("  training: {epochs: 5, optimizer: {warmupEpochs: 6}}", "spec.training.optimizer.warmupEpochs", "warm-up of 6 epochs is longer than the 5 epochs")]
    [InlineData("  training: {optimizer: {milestones: [250]}}\n  cotrain: {flowPretrainEpochs: 200, optimizer: {schedule: cosine}}", "spec.training.optimizer.milestones", "milestone 250 lies beyond the 200 epochs of Flow")]
    [InlineData("  training: {optimizer: {milestones: [250, 280]}}\n  cotrain: {epochsPerTurn: 100}", "spec.training.optimizer.milestones", "milestone 250 lies beyond the 100 epochs of a turn")]
    [InlineData("  cotrain: {epochsPerTurn: 100, optimizer: {milestones: [40, 120]}}", "spec.cotrain.optimizer.milestones", "milestone 120 lies beyond the 100 epochs of a turn")]
    [InlineData("  cotrain: {learningRate: \"0.1\"}", "spec.cotrain.learningRate", "unknown field")]
    public void Wrong_Field_IsNamedWithItsMendAndLine(string lines, string path, string words)
    {
        var reading = ManifestReader.ReadExperiment(Minimal + "\n" + lines);
        Assert.Null(reading.Manifest);
        var problem = Assert.Single(reading.Problems);
        Assert.Equal(path, problem.Path);
        Assert.Contains(words, problem.Message, StringComparison.Ordinal);
        Assert.True(problem.Line >= 9, $"line {problem.Line}");
    }

    [Theory]
    [InlineData("training: {optimizer: {milestones: [250, 280]}}", "cotrain: {epochsPerTurn: 100, optimizer: {milestones: [80]}}")]
    [InlineData("training: {optimizer: {milestones: [250, 280]}}", "cotrain: {epochsPerTurn: 100, optimizer: {schedule: cosine}}")]
    [InlineData("training: {optimizer: {milestones: [250, 280]}}", "cotrain: {cycles: 0}")]
    [InlineData("training: {method: InfoNCE, optimizer: {milestones: [250, 280]}}", "cotrain: {epochsPerTurn: 100, rgbPretrainEpochs: 3}")]
    [InlineData("training: {epochs: 10, optimizer: {schedule: cosine, milestones: [250]}}", "cotrain: {rgbPretrainEpochs: 0}")]
    public void Milestones_WithinTheStagesThatTheyRule_Read(string training, string cotrain) =>
        Assert.Empty(ManifestReader.ReadExperiment($"{Minimal}\n  {training}\n  {cotrain}").Problems);

    [Fact]
    public void FieldWithoutAValue_IsOneThatIsNotGiven()
    {
        ManifestReading<ExperimentSpec> reading = ManifestReader.ReadExperiment(Minimal + "\n  training:\n    queueSize:\n    optimizer: {name: ~}\n  seed: null");
        Assert.Empty(reading.Problems);
        Assert.Equal((2048, OptimizerName.Adam, 0), (reading.Manifest!.Spec.Training.QueueSize, reading.Manifest.Spec.Training.Optimizer.Name, reading.Manifest.Spec.Seed));
    }

    [Fact]
    public void TurnOptimizer_TakesWhatIsAbsentFromTraining()
    {
        ExperimentSpec spec = ManifestReader.ReadExperiment(
            Minimal + "\n  training: {optimizer: {name: SGD, learningRate: \"0.1\", milestones: [250]}}\n  cotrain: {optimizer: {learningRate: \"0.01\", milestones: [80]}}").Manifest!.Spec;
        OptimizerSpec turn = spec.TurnOptimizer();
        Assert.Equal((OptimizerName.Sgd, "0.01", "0.00001", Schedule.Step), (turn.Name, turn.LearningRate, turn.WeightDecay, turn.Schedule));
        Assert.Equal([80], turn.Milestones);
    }

    [Theory]
    [InlineData("", "begins with apiVersion")]
    [InlineData("just text", "begins with apiVersion")]
    [InlineData("a: [1, 2", "not valid YAML")]
    [InlineData("a: 1\na: 2", "not valid YAML")]
    [InlineData("--- {}\n--- {}", "several documents")]
    [InlineData("a: &x [*x]", "")]
    public void NoManifest_IsRefusedInWords(string text, string words)
    {
        var reading = ManifestReader.ReadExperiment(text);
        Assert.Null(reading.Manifest);
        Assert.Contains(reading.Problems, p => p.Message.Contains(words, StringComparison.Ordinal));
    }

    [Fact]
    public void AliasBomb_IsRefused()
    {
        string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + string.Concat(Enumerable.Range(1, 9).Select(i => $"a{i}: &a{i} [{string.Join(", ", Enumerable.Repeat($"*a{i - 1}", 10))}]\n"));
        var reading = ManifestReader.ReadExperiment(bomb);
        Assert.Contains(reading.Problems, p => p.Message.Contains("too many values", StringComparison.Ordinal));
    }

    [Fact]
    public void Overrides_SetNestedFields_AndNameTheirMistakes()
    {
        var reading = ManifestReader.ReadExperiment(Minimal, [new("training.epochs", "7"), new("views", "RGB,Flow"), new("training.temperature", "0.1")]);
        Assert.Empty(reading.Problems);
        Assert.Equal(7, reading.Manifest!.Spec.Training.Epochs);
        Assert.Equal("0.1", reading.Manifest.Spec.Training.Temperature);
        var wrong = ManifestReader.ReadExperiment(Minimal, [new("training.epoch", "7")]);
        Assert.Contains("did you mean 'epochs'?", Assert.Single(wrong.Problems).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("views", "RGB", 1)]
    [InlineData("views", "RGB,Flow", 2)]
    [InlineData("views", "[RGB, Flow]", 2)]
    [InlineData("views", "[\"RGB\",\"Flow\"]", 2)]
    [InlineData("evaluation.finetune", "{enabled: true, epochs: 2}", 2)]
    [InlineData("evaluation.finetune", "{\"enabled\": true, \"epochs\": 2}", 2)]
    public void Overrides_TakeListsAndGroupsAsAPersonWritesThem(string path, string value, int expected)
    {
        var reading = ManifestReader.ReadExperiment(Minimal, [new("training.method", "InfoNCE"), new(path, value)]);
        Assert.Empty(reading.Problems);
        ExperimentSpec spec = reading.Manifest!.Spec;
        Assert.Equal(expected, path == "views" ? spec.Views.Count : spec.Evaluation.Finetune.Enabled ? spec.Evaluation.Finetune.Epochs : 0);
    }

    [Fact]
    public void ManifestFromACluster_WithServerMetadataAndStatus_Reads()
    {
        string text = Minimal.Replace("  name: first", "  name: first\n  uid: 1-2\n  resourceVersion: \"7\"\n  managedFields: []", StringComparison.Ordinal) + "\nstatus: {anything: 1}";
        Assert.Empty(ManifestReader.ReadExperiment(text).Problems);
    }

    [Theory]
    [InlineData("Upper")]
    [InlineData("-lead")]
    [InlineData("this-name-is-far-too-long-for-the-jobs-that-are-made-from-it")]
    public void Name_ThatMakesNoJobName_IsRefused(string name)
    {
        var reading = ManifestReader.ReadExperiment(Minimal.Replace("name: first", $"name: {name}", StringComparison.Ordinal));
        Assert.Equal("metadata.name", Assert.Single(reading.Problems).Path);
    }

    [Fact]
    public void Random_Text_NeverThrows()
    {
        var random = new Random(1);
        const string alphabet = "abc: -[]{}\n\t\"'#&*!|>%@`0123456789,?";
        for (int i = 0; i < 3000; i++)
        {
            string noise = new([.. Enumerable.Range(0, random.Next(1, 60)).Select(_ => alphabet[random.Next(alphabet.Length)])]);
            int at = random.Next(Minimal.Length);
            Assert.NotNull(ManifestReader.ReadExperiment(i % 2 == 0 ? noise : Minimal.Insert(at, noise)).Problems);
        }
    }

    // A stack overflow cannot be caught: before the bound, these ended the process.
    [Theory]
    [InlineData("a: ", "[", "")]
    [InlineData("", "[", "]")]
    [InlineData("", "{a: ", "}")]
    [InlineData("", "- ", "")]
    [InlineData("a:\n", "? ", "")]
    public void DeeplyNested_Text_IsRefusedWithItsLine(string begin, string open, string close)
    {
        string text = begin + string.Concat(Enumerable.Repeat(open, 200_000 / open.Length)) + string.Concat(Enumerable.Repeat(close, 100_000));
        ManifestProblem problem = Assert.Single(ManifestReader.ReadExperiment(text).Problems);
        Assert.Contains("nested too deeply: more than 64", problem.Message, StringComparison.Ordinal);
        Assert.Equal(begin.Count(c => c == '\n') + 1, problem.Line);
        Assert.Null(ManifestReader.KindOf(text));
        Assert.Null(ManifestReader.TryToJson(text));
    }

    [Fact]
    public void NestedAsDeepAsAllowed_Reads()
    {
        string text = new string('[', YamlText.MaxDepth) + new string(']', YamlText.MaxDepth);
        Assert.NotNull(YamlText.Load(text));
        Assert.Throws<YamlDotNet.Core.YamlException>(() => YamlText.Load($"[{text}]"));
    }

    [Theory]
    [InlineData("a: &a [*a]")]
    [InlineData("a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: [*d, *d, *d, *d, *d, *d, *d, *d, *d]")]
    public void Aliases_ThatGrowWithoutEnd_AreRefused(string text) =>
        Assert.Contains("not valid YAML", Assert.Single(ManifestReader.ReadExperiment(text).Problems).Message, StringComparison.Ordinal);
}
