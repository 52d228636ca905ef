export default { name: "Models", template: `<section class="page"></section>` };
