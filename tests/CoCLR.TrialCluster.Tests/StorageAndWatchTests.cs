// Why this exists: storage, lists, watches and conflicts must behave as on a real API server: informers are built on them.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster.Tests;

public sealed class StorageAndWatchTests : IAsyncLifetime
{
    private Server _server = null!;
    private Api _api = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await Server.StartAsync(new InProcessClusterOptions { RunPods = false, BookmarkInterval = TimeSpan.FromSeconds(0.3) });
        _api = _server.Api;
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }
    }

    [Fact]
    public async Task Update_OfAStaleVersion_IsAConflict()
    {
        var first = await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));
        await _api.Ok(_api.Merge(Objects.ConfigMaps + "/a", """{"data":{"key":"2"}}"""));
        var answer = await _api.Put(Objects.ConfigMaps + "/a", first);
        Assert.Equal((409, "Conflict"), (answer.Code, answer.Reason));
        Assert.Equal("Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the "
            + "latest version and try again", answer.Message);
    }

    [Fact]
    public async Task Create_OfATakenName_IsAlreadyExists()
    {
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));
        var answer = await _api.Post(Objects.ConfigMaps, Objects.ConfigMap("a"));
        Assert.Equal((409, "AlreadyExists"), (answer.Code, answer.Reason));
    }

    [Fact]
    public async Task Write_ThatChangesNothing_KeepsTheVersion()
    {
        var first = await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));
        var second = await _api.Ok(_api.Merge(Objects.ConfigMaps + "/a", """{"data":{"key":"1"}}"""));
        Assert.Equal(first.Text("metadata", "resourceVersion"), second.Text("metadata", "resourceVersion"));
    }

    [Fact]
    public async Task DryRun_OfACreation_StoresNothing()
    {
        await _api.Ok(_api.Post(Objects.ConfigMaps + "?dryRun=All", Objects.ConfigMap("a")));
        Assert.Equal(404, (await _api.Get(Objects.ConfigMaps + "/a")).Code);
    }

    [Fact]
    public async Task List_InPages_GivesEachObjectOnceAsOfTheFirstPage()
    {
        for (var i = 0; i < 7; i++)
        {
            await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap($"m{i}", label: "page")));
        }

        var names = new List<string>();
        var token = "";
        do
        {
            var page =
                await _api.Ok(_api.Get($"{Objects.ConfigMaps}?limit=3&labelSelector=app%3Dpage&continue={Uri.EscapeDataString(token)}"));
            names.AddRange(page.Items("items").Select(i => i.Text("metadata", "name")!));
            token = page.Text("metadata", "continue") ?? "";
            await _api.Delete(Objects.ConfigMaps + "/m6");
        }
        while (token.Length > 0);
        Assert.Equal(["m0", "m1", "m2", "m3", "m4", "m5", "m6"], names);
    }

    [Fact]
    public async Task List_WithATokenFromBeforeACompaction_IsExpired()
    {
        for (var i = 0; i < 3; i++)
        {
            await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap($"m{i}")));
        }

        var page = await _api.Ok(_api.Get(Objects.ConfigMaps + "?limit=1"));
        _server.Cluster.Store.Compact();
        var answer = await _api.Get($"{Objects.ConfigMaps}?limit=1&continue={Uri.EscapeDataString(page.Text("metadata", "continue")!)}");
        Assert.Equal((410, "Expired"), (answer.Code, answer.Reason));
    }

    [Theory]
    [InlineData("labelSelector=app%3Dx", "x1,x2")]
    [InlineData("labelSelector=app%21%3Dx,app", "y1")]
    [InlineData("labelSelector=app+in+(x,y)", "x1,x2,y1")]
    [InlineData("labelSelector=!app", "")]
    [InlineData("fieldSelector=metadata.name%3Dx2", "x2")]
    [InlineData("fieldSelector=metadata.name!%3Dx2&labelSelector=app%3Dx", "x1")]
    public async Task List_WithSelectors_GivesWhatTheySelect(string query, string expected)
    {
        foreach (var name in new[] { "x1", "x2", "y1" })
        {
            await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap(name, label: name[..1])));
        }

        var list = await _api.Ok(_api.Get($"{Objects.ConfigMaps}?{query}"));
        Assert.Equal(
            expected,
            string.Join(
                ',',
                list.Items("items").Select(i => i.Text("metadata", "name"))
                    .Where(n => n?.EndsWith("-ca.crt", StringComparison.Ordinal) == false)));
    }

    [Fact]
    public async Task List_ByAFieldThatCannotBeSelected_IsRefused() =>
        Assert.Equal(
            (400, "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""),
            await _api.Get(Objects.ConfigMaps + "?fieldSelector=spec.foo%3D1") is var a ? (a.Code, a.Message) : default);

    [Fact]
    public async Task Watch_FromAListsVersion_SeesEveryChangeInOrder()
    {
        var list = await _api.Ok(_api.Get(Objects.ConfigMaps));
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a", label: "x")));
        await _api.Ok(_api.Merge(Objects.ConfigMaps + "/a", """{"data":{"key":"2"}}"""));
        await _api.Ok(_api.Merge(Objects.ConfigMaps + "/a", """{"metadata":{"labels":{"app":"y"}}}"""));
        await _api.Ok(_api.Delete(Objects.ConfigMaps + "/a"));
        var version = list.Text("metadata", "resourceVersion");
        Assert.Equal(
            ["ADDED 1", "MODIFIED 2", "MODIFIED 2", "DELETED 2"], await Take($"{Objects.ConfigMaps}?watch=1&resourceVersion={version}", 4));

        // An object that leaves the selection is deleted as far as this watch can see.
        Assert.Equal(
            ["ADDED 1", "MODIFIED 2", "DELETED 2"],
            await Take($"{Objects.ConfigMaps}?watch=1&resourceVersion={version}&labelSelector=app%3Dx", 3));
    }

    private async Task<List<string>> Take(string path, int count)
    {
        var seen = new List<string>();
        await foreach (var e in _api.Watch(path, TestContext.Current.CancellationToken))
        {
            seen.Add($"{e.Text("type")} {e.Text("object", "data", "key")}");
            if (seen.Count == count)
            {
                break;
            }
        }

        return seen;
    }

    [Fact]
    public async Task Watch_WithInitialEvents_EndsThemWithABookmark()
    {
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a", label: "x")));
        var path = $"{Objects.ConfigMaps}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&labelSelector=app%3Dx";
        var seen = new List<string>();
        await foreach (var e in _api.Watch(path, TestContext.Current.CancellationToken))
        {
            seen.Add($"{e.Text("type")} {e.Text("object", "metadata", "annotations", "k8s.io/initial-events-end")}");
            if (seen.Count == 3)
            {
                break;
            }
        }

        Assert.Equal(["ADDED ", "BOOKMARK true", "BOOKMARK "], seen);
    }

    [Fact]
    public async Task Watch_FromACompactedVersion_IsGoneAsAnErrorEvent()
    {
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));
        _server.Cluster.Store.Compact();
        await foreach (var e in _api.Watch(Objects.ConfigMaps + "?watch=1&resourceVersion=1", TestContext.Current.CancellationToken))
        {
            Assert.Equal(("ERROR", 410L, "Expired"), (e.Text("type"), e.Number("object", "code"), e.Text("object", "reason")));
            return;
        }

        Assert.Fail("the watch said nothing");
    }

    [Theory]
    [
        InlineData(
            "?resourceVersion=abc",
            400,
            "invalid resource version: resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax")]
    [InlineData("?labelSelector=a+b+c", 400, "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt")]
    [InlineData("/none", 404, "configmaps \"none\" not found")]
    public async Task Read_ThatCannotBe_IsRefusedInTheServersWords(string path, int code, string message)
    {
        var answer = await _api.Get(Objects.ConfigMaps + path);
        Assert.Equal((code, message), (answer.Code, answer.Message));
    }

    [Theory]
    [InlineData("/apis/coclr.dev/v9/namespaces/default/coclrexperiments")]
    [InlineData("/apis/example.com/v1/namespaces/default/widgets")]
    public async Task Path_ThatNobodyServes_IsALineOfText(string path)
    {
        var answer = await _api.Get(path);
        Assert.Equal((404, "404 page not found\n"), (answer.Code, answer.Body!.GetValue<string>()));
    }

    [Fact]
    public async Task Patch_WithAnotherUid_IsInvalidAndNoConflict()
    {
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("a")));
        var answer = await _api.Merge(
            Objects.ConfigMaps + "/a", """{"metadata":{"uid":"00000000-0000-0000-0000-000000000000","labels":{"x":"y"}}}""");
        Assert.Equal(
            (422, "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"00000000-0000-0000-0000-000000000000\": field is immutable"),
            (answer.Code, answer.Message));
        answer = await _api.Delete(
            Objects.ConfigMaps + "/a",
            Objects.Parse("""{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}"""));
        Assert.Equal((409, "Conflict"), (answer.Code, answer.Reason));
        Assert.StartsWith("Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition "
            + "(00000000-0000-0000-0000-000000000000) does not match the UID in record (", answer.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"data":{"key":"2"}}""", "data")]
    [InlineData("""{"immutable":false}""", "immutable")]
    public async Task ImmutableMap_WhenChanged_IsRefused(string patch, string field)
    {
        var map = Objects.ConfigMap("a");
        map["immutable"] = true;
        await _api.Ok(_api.Post(Objects.ConfigMaps, map));
        var answer = await _api.Merge(Objects.ConfigMaps + "/a", patch);
        Assert.Equal(
            (422, $"ConfigMap \"a\" is invalid: {field}: Forbidden: field is immutable when `immutable` is set"),
            (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Watch_WithATimeout_EndsCleanly()
    {
        var count = 0;
        var version = (await _api.Ok(_api.Get(Objects.ConfigMaps))).Text("metadata", "resourceVersion");
        await foreach (
            var _ in _api.Watch(
                $"{Objects.ConfigMaps}?watch=1&resourceVersion={version}&timeoutSeconds=1&fieldSelector=metadata.name%3Dnone",
                TestContext.Current.CancellationToken))
        {
            count++;
        }

        Assert.Equal(0, count);
    }

    [Fact]
    public async Task List_FromTheFuture_AsksToTryAgain()
    {
        var answer = await _api.Get(Objects.ConfigMaps + "?resourceVersion=999999");
        Assert.Equal((504, "Timeout"), (answer.Code, answer.Reason));
    }

    [Fact]
    public async Task KubernetesClient_ListsAndWatches()
    {
        var config = k8s.KubernetesClientConfiguration.BuildConfigFromConfigFile(_server.Cluster.KubeconfigPath);
        using var client = new k8s.Kubernetes(config);
        var stop = TestContext.Current.CancellationToken;
        var created = await k8s.CoreV1OperationsExtensions.CreateNamespacedConfigMapAsync(
            client.CoreV1, new k8s.Models.V1ConfigMap { Metadata = new k8s.Models.V1ObjectMeta { GenerateName = "gen-" } }, "default",
            cancellationToken: stop);
        Assert.StartsWith("gen-", created.Metadata.Name, StringComparison.Ordinal);
        var list = await k8s.CoreV1OperationsExtensions.ListNamespacedConfigMapAsync(client.CoreV1, "default", cancellationToken: stop);
        Assert.Contains(list.Items, c => c.Metadata.Name == created.Metadata.Name);
    }

    [Fact]
    public async Task Patches_OfAllKinds_ChangeWhatTheySay()
    {
        var path = "/api/v1/namespaces/default/services";
        await _api.Ok(_api.Post(path, Objects.Parse("""
            {"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"selector":{"a":"b"},"ports":[{"name":"http","port":80},{"name":"https","port":443}]}}
            """)));
        var strategic = await _api.Ok(_api.Strategic(path + "/s", """{"spec":{"ports":[{"port":80,"targetPort":8080}]}}"""));
        Assert.Equal(["80→8080", "443→443"], strategic.Items("spec", "ports").Select(p => $"{p.Number("port")}→{p.Number("targetPort")}"));
        var deleted = await _api.Ok(_api.Strategic(path + "/s", """{"spec":{"ports":[{"port":443,"$patch":"delete"}]}}"""));
        Assert.Single(deleted.Items("spec", "ports"));
        var json = await _api.Ok(
            _api.JsonPatch(
                path + "/s",
                """[{"op":"test","path":"/spec/ports/0/port","value":80},{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]"""));
        Assert.Equal("y", json.Text("metadata", "labels", "x"));
        Assert.Equal(422, (await _api.JsonPatch(path + "/s", """[{"op":"test","path":"/spec/ports/0/port","value":81}]""")).Code);
    }

    [Fact]
    public async Task Decoding_UnknownFields_WarnsOrRefuses()
    {
        var body = Objects.ConfigMap("a");
        body["dota"] = "x";
        var warned = await _api.Post(Objects.ConfigMaps, body);
        Assert.Equal(201, warned.Code);
        Assert.Contains("unknown field", string.Join(' ', warned.Headers.GetValues("Warning")), StringComparison.Ordinal);
        body["metadata"]!["name"] = "b";
        var strict = await _api.Post(Objects.ConfigMaps + "?fieldValidation=Strict", body);
        Assert.Equal(400, strict.Code);
        Assert.Contains("strict decoding error: unknown field \"dota\"", strict.Message, StringComparison.Ordinal);
        body["data"] = new JsonObject { ["n"] = 1 };
        Assert.Contains("cannot unmarshal number", (await _api.Post(Objects.ConfigMaps, body)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Upper", "metadata.name")]
    [InlineData("a_b", "metadata.name")]
    [InlineData("-a", "metadata.name")]
    public async Task Create_WithABadName_IsInvalid(string name, string field)
    {
        var answer = await _api.Post(Objects.ConfigMaps, Objects.ConfigMap(name));
        Assert.Equal((422, "Invalid", field), (answer.Code, answer.Reason, answer.Body.Items("details", "causes")[0].Text("field")));
    }
}
