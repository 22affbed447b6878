// Why this exists: the description from which clients are made: every operation has a name, every answer a schema, every error one format,
// every way to sign in its scheme.
using CoCLR.Dashboard.Formatting;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace CoCLR.Dashboard.Api;

/// <summary>The OpenAPI description.</summary>
internal static class OpenApiText
{
    private const string Bearer = "token";
    private const string Session = "session";

    private static readonly (string Name, string Text)[] Tags =
    [
        ("Runs", "What runs say: state, curves, logs, results, artifacts."),
        ("Actions", "What can be done with runs: start, stop, resume, delete."),
        ("Tokens", "Tokens of scripts and training processes, and the record of actions."),
        ("Ingest", "The door through which training processes elsewhere send events, plans and artifacts of their own run."),
    ];

    /// <summary>Adds the description.</summary>
    public static void AddOpenApiText(this IServiceCollection services) => services.AddOpenApi("v1", o =>
    {
        o.AddDocumentTransformer(DescribeAsync);
        o.AddOperationTransformer(DescribeAsync);
        o.AddSchemaTransformer((schema, context, _) =>
        {
            // Numbers are written as numbers, although strings such as "NaN" are read, too.
            if (schema.Type is { } type && type.HasFlag(JsonSchemaType.String)
                && (type.HasFlag(JsonSchemaType.Integer) || type.HasFlag(JsonSchemaType.Number)))
            {
                schema.Type = type & ~JsonSchemaType.String;
                schema.Pattern = null;
            }

            return Task.CompletedTask;
        });
    });

    /// <summary>Names an operation for clients and people.</summary>
    public static RouteHandlerBuilder Named(this RouteHandlerBuilder route, string id, string summary, string? description = null)
    {
        route.WithName(id).WithSummary(summary);
        return description == null ? route : route.WithDescription(description);
    }

    /// <summary>Adds the errors that any request may meet.</summary>
    public static RouteGroupBuilder WithProblems(this RouteGroupBuilder group, params int[] more)
    {
        foreach (int status in more.Concat([StatusCodes.Status401Unauthorized, StatusCodes.Status403Forbidden, StatusCodes.Status429TooManyRequests]))
        {
            group.WithMetadata(new ProducesResponseTypeMetadata(status, typeof(ProblemDetails), ["application/problem+json"]));
        }

        return group;
    }

    private static Task DescribeAsync(OpenApiDocument document, OpenApiDocumentTransformerContext context, CancellationToken cancel)
    {
        document.Info = new OpenApiInfo
        {
            Title = "CoCLR dashboard",
            Version = "v1",
            Description =
                "Everything a page shows can be read, and everything it does can be done, by a script. Errors are problem+json (RFC 9457).",
            License = new OpenApiLicense { Name = "Apache-2.0", Identifier = "Apache-2.0" },
        };
        document.Servers = [new OpenApiServer { Url = "/", Description = "this dashboard" }];
        document.Tags = new HashSet<OpenApiTag>(Tags.Select(t => new OpenApiTag { Name = t.Name, Description = t.Text }));
        document.Components ??= new OpenApiComponents();
        document.Components.SecuritySchemes = new Dictionary<string, IOpenApiSecurityScheme>
        {
            [Bearer] = new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.Http, Scheme = "bearer",
                Description = "An API token (page Access), the configured token, or for the ingest API the token of a run."
            },
            [Session] = new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.ApiKey, In = ParameterLocation.Cookie, Name = "coclr-session",
                Description =
                    "A browser's session; its writes also need the header X-CSRF-TOKEN. The cookie's name ends with an id of the dashboard."
            },
        };
        return Task.CompletedTask;
    }

    private static Task DescribeAsync(OpenApiOperation operation, OpenApiOperationTransformerContext context, CancellationToken cancel)
    {
        bool ingest = context.Description.ActionDescriptor.EndpointMetadata.OfType<IAuthorizeData>()
            .Any(a => a.Policy == Configuration.Policies.Ingest);
        operation.Security = [Requirement(Bearer), .. ingest ? Array.Empty<OpenApiSecurityRequirement>() : [Requirement(Session)]];
        if (context.Description.ActionDescriptor.EndpointMetadata.OfType<BodyText>().LastOrDefault() is { } body)
        {
            operation.RequestBody = new OpenApiRequestBody
            {
                Required = true,
                Description = body.Description,
                Content = body.Types.ToDictionary(t => t, t => new OpenApiMediaType
                {
                    Schema = new OpenApiSchema { Type = t == "application/json" ? JsonSchemaType.Object : JsonSchemaType.String },
                }),
            };
        }

        return Task.CompletedTask;

        OpenApiSecurityRequirement Requirement(string scheme) =>
            new() { [new OpenApiSecuritySchemeReference(scheme, context.Document)] = [] };
    }
}

/// <summary>
/// A body that is read as text or bytes: which types it may have. Checked after the sign-in, so that a wrong type is told as that.
/// </summary>
/// <param name="Description">What it holds.</param>
/// <param name="Types">Media types that are taken.</param>
internal sealed record BodyText(string Description, params string[] Types) : IEndpointFilter
{
    public ValueTask<object?> InvokeAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        HttpRequest request = context.HttpContext.Request;
        string given = request.ContentType?.Split(';')[0].Trim() ?? "";
        return Types.Contains(given, StringComparer.OrdinalIgnoreCase)
            ? next(context)
            : new(
                Problems.Of(
                    StatusCodes.Status415UnsupportedMediaType,
                    $"The body {(given.Length == 0 ? "has no Content-Type" : "has a Content-Type that is not taken here")}: send "
                        + $"{string.Join(" or ", Types)}."));
    }
}
